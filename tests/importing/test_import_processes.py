"""The importer as the agent runs it: exit codes, reports, workers on all cores, and what a crash, a stop or a full disk leaves."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from importing.import_processes import PHOTO, Import
from importing.made_sources import import_from, write_class_folders

from oarlock_api.contract import EXIT_CODES, EXIT_SUCCESS, EXIT_SUSPENDED, Cause, Outcome
from oarlock_trainer.datasets import open_dataset
from oarlock_trainer.errors import StorageError
from oarlock_trainer.importing.workspace import open_workspace


@pytest.fixture
def started(photos: Path, tmp_path: Path) -> Iterator[tuple[Import, subprocess.Popen[bytes]]]:
    """An import that has finished a shard, has more to do, and is paused: `resume` lets it go on."""
    for chance in range(20):
        importing = Import(tmp_path / str(chance), source=photos, spec=PHOTO)
        process = importing.start()
        try:
            importing.wait_for_shard()
            pause(process)
            # On a busy machine it may be done before it is paused.
            if process.poll() is None and not importing.versions:
                yield importing, process
                return
        finally:
            process.kill()
            process.wait()
    pytest.fail("the import was always done before it could be paused")


def pause(process: subprocess.Popen[bytes]) -> None:
    for each in find_family(process):
        each.suspend()


def resume(*family: psutil.Process) -> None:
    for each in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            each.resume()


def find_family(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """Return an import and its workers; none if it has ended."""
    try:
        parent = psutil.Process(process.pid)
        return [*parent.children(recursive=True), parent]
    except psutil.NoSuchProcess:
        return []


def test_import_succeeds_and_reports_the_dataset(tmp_path: Path) -> None:
    importing = Import(tmp_path, source=write_class_folders(tmp_path / "raw"))
    done = importing.run()

    assert done.returncode == EXIT_SUCCESS, done.stderr
    reading = importing.reading
    facts = reading.report["dataset"]
    assert reading.outcome is Outcome.SUCCEEDED
    assert (reading.position, reading.report["steps"]) == (16, 16)
    assert facts["path"] == f"made-1/{facts['version']}"
    assert facts["counts"] == {"train": 12, "validation": 4}
    assert [path.name for path in importing.versions] == [facts["version"]]
    assert not list(importing.data.glob(".importing-*"))
    assert "2 classes, 12 for train, 4 for validation" in done.stderr


def test_version_is_the_same_when_several_processes_work(photos: Path, tmp_path: Path) -> None:
    importing = Import(tmp_path, source=photos, spec=PHOTO)
    assert importing.run().returncode == EXIT_SUCCESS

    alone = import_from(photos, tmp_path / "alone", PHOTO, workers=1)
    assert importing.reading.report["dataset"]["version"] == alone.version
    assert len(open_dataset(tmp_path / alone.path).manifest.shards["train"]) > 2


def test_finished_shards_are_taken_over_when_the_import_was_killed(
    started: tuple[Import, subprocess.Popen[bytes]], photos: Path, tmp_path: Path
) -> None:
    importing, process = started
    workers = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.wait()
    resume(*workers)
    gone, alive = psutil.wait_procs(workers, timeout=60)

    assert gone
    assert not alive, "nothing survives a killed importer"
    assert not importing.versions, "an unfinished version is not visible"
    again = importing.run()
    assert again.returncode == EXIT_SUCCESS, again.stderr
    assert "shards were finished by an earlier import" in again.stderr
    expected = import_from(photos, tmp_path / "fresh", PHOTO).version
    assert [path.name for path in importing.versions] == [expected]
    assert not list(importing.versions[0].glob("*.done"))
    open_dataset(importing.versions[0]).verify()


def test_import_is_suspended_when_it_is_asked_to_stop(started: tuple[Import, subprocess.Popen[bytes]]) -> None:
    importing, process = started
    process.send_signal(signal.SIGTERM)
    resume(*find_family(process))

    assert process.wait(timeout=120) == EXIT_SUSPENDED
    assert importing.reading.outcome is Outcome.SUSPENDED
    assert list(importing.workspace.glob("*.done")), "what is finished stays"


def test_import_fails_when_a_worker_is_killed(started: tuple[Import, subprocess.Popen[bytes]]) -> None:
    importing, process = started
    workers = [child for child in psutil.Process(process.pid).children() if "spawn_main" in " ".join(child.cmdline())]
    workers[0].kill()
    resume(*find_family(process))

    assert process.wait(timeout=120) == EXIT_CODES[Cause.PROCESS_KILLED]
    failure = importing.reading.failure
    assert failure is not None
    assert "was killed" in failure.message
    assert "spec.resources.memory" in failure.remedy


def test_shard_is_made_again_when_the_finished_one_was_damaged_or_its_files_changed(
    photos: Path, tmp_path: Path
) -> None:
    source = tmp_path / "raw"
    shutil.copytree(photos, source, copy_function=os.link)
    importing = Import(tmp_path, source=source, spec=PHOTO)
    process = importing.start()
    importing.wait_for_shard()
    process.kill()
    process.wait()
    note = next(importing.workspace.glob("*.done"))
    shard = note.with_suffix("")
    shard.write_bytes(shard.read_bytes()[:-1] + b"\x00")
    changed = source / "sea" / "100.png"
    changed.unlink()
    changed.write_bytes((source / "sky" / "000.png").read_bytes())

    assert importing.run().returncode == EXIT_SUCCESS
    expected = import_from(source, tmp_path / "fresh", PHOTO).version
    assert [path.name for path in importing.versions] == [expected]


def test_same_version_is_reused_when_it_is_there(tmp_path: Path) -> None:
    source = write_class_folders(tmp_path / "raw")
    first = import_from(source, tmp_path / "data")
    before = (tmp_path / first.path / "dataset.json").stat().st_ino

    assert import_from(source, tmp_path / "data") == first
    assert (tmp_path / first.path / "dataset.json").stat().st_ino == before


def test_version_is_replaced_when_it_is_damaged(tmp_path: Path) -> None:
    source = write_class_folders(tmp_path / "raw")
    first = import_from(source, tmp_path / "data")
    shard = tmp_path / first.path / "train-00000.arrow"
    shard.write_bytes(shard.read_bytes()[:-9])

    assert import_from(source, tmp_path / "data") == first
    open_dataset(tmp_path / first.path).verify()
    assert [path.name for path in (tmp_path / "data").iterdir() if path.is_dir()] == [first.version]


def test_leftovers_of_another_spec_are_removed(tmp_path: Path) -> None:
    (tmp_path / "data" / ".importing-0123").mkdir(parents=True)
    (tmp_path / "data" / ".importing-0123" / "train-00000.arrow").touch()
    facts = import_from(write_class_folders(tmp_path / "raw"), tmp_path / "data")

    assert [path.name for path in (tmp_path / "data").iterdir() if path.is_dir()] == [facts.version]


def test_import_is_refused_when_another_one_works_in_the_folder(tmp_path: Path) -> None:
    source = write_class_folders(tmp_path / "raw")
    with open_workspace(tmp_path / "data", "0123"), pytest.raises(StorageError, match="another import is writing"):
        import_from(source, tmp_path / "data")


def begin_again(importing: Import, *, attempt: int) -> subprocess.CompletedProcess[str]:
    """Import as the next pod does."""
    importing.environment["OARLOCK_ATTEMPT"] = str(attempt)
    return importing.run()


def test_an_import_on_a_lost_node_neither_stops_the_next_one_nor_publishes(
    started: tuple[Import, subprocess.Popen[bytes]], photos: Path, tmp_path: Path
) -> None:
    importing, zombie = started
    done = begin_again(importing, attempt=1)
    published = (importing.versions[0] / "dataset.json").stat().st_ino
    resume(*find_family(zombie))

    assert done.returncode == EXIT_SUCCESS, done.stderr
    assert "shards were finished by an earlier import" in done.stderr
    assert zombie.wait(timeout=240) != EXIT_SUCCESS
    expected = import_from(photos, tmp_path / "fresh", PHOTO).version
    assert [path.name for path in importing.versions] == [expected]
    assert (importing.versions[0] / "dataset.json").stat().st_ino == published
    open_dataset(importing.versions[0]).verify()


def test_an_import_of_an_earlier_attempt_is_superseded_when_it_comes_late(tmp_path: Path) -> None:
    importing = Import(tmp_path, source=write_class_folders(tmp_path / "raw"))

    assert begin_again(importing, attempt=2).returncode == EXIT_SUCCESS
    late = begin_again(importing, attempt=1)
    assert late.returncode == EXIT_CODES[Cause.SUPERSEDED], late.stderr
    assert "attempt 2 of this import works in" in late.stderr


def test_a_shard_that_was_taken_over_is_replaced_and_not_written_into(photos: Path, tmp_path: Path) -> None:
    """The older import has the same file under another name, and may be about to publish it."""
    importing = Import(tmp_path, source=photos, spec=PHOTO)
    process = importing.start()
    importing.wait_for_shard()
    process.kill()
    process.wait()
    note = next(importing.workspace.glob("*.done"))
    kept = tmp_path / "kept.arrow"
    os.link(note.with_suffix(""), kept)
    before = kept.read_bytes()
    note.write_text("{")

    assert begin_again(importing, attempt=1).returncode == EXIT_SUCCESS
    assert kept.read_bytes() == before
    open_dataset(importing.versions[0]).verify()


@pytest.mark.parametrize(
    ("variables", "cause", "message"),
    [
        ({"OARLOCK_SOURCE_DIR": "/nowhere"}, Cause.DATA_MISSING, "the source /nowhere does not exist on the volume"),
        ({"OARLOCK_SOURCE_DIR": ""}, Cause.CONFIG_INVALID, "OARLOCK_SOURCE_DIR is not"),
        ({"OARLOCK_RUN": ""}, Cause.CONFIG_INVALID, "the variable OARLOCK_RUN is not set"),
        ({"OARLOCK_ATTEMPT": "x"}, Cause.CONFIG_INVALID, "OARLOCK_ATTEMPT must be a whole number"),
        ({"OARLOCK_RUN": "{"}, Cause.CONFIG_INVALID, "OARLOCK_RUN is not JSON"),
        ({"OARLOCK_RUN": '{"name": "x"}'}, Cause.CONFIG_INVALID, "OARLOCK_RUN is not an import: spec: Field required"),
    ],
    ids=["no source", "no variable", "no run", "no attempt", "no json", "no spec"],
)
def test_exit_code_and_record_name_the_cause(
    tmp_path: Path, variables: dict[str, str], cause: Cause, message: str
) -> None:
    importing = Import(tmp_path, source=tmp_path, variables=variables)

    assert importing.run().returncode == EXIT_CODES[cause]
    failure = importing.reading.failure
    assert failure is not None
    assert failure.cause == cause
    assert message in failure.message
    assert failure.remedy


def test_progress_and_eta_are_reported_while_the_import_runs(started: tuple[Import, subprocess.Popen[bytes]]) -> None:
    importing, process = started
    resume(*find_family(process))
    first = second = importing.reading
    while process.poll() is None and second.counter <= first.counter:
        second = importing.reading

    assert second.counter > first.counter
    assert first.report["steps"] == 260
    assert 0 < (second.position or 0) <= 260
    assert "eta_seconds" in second.report


def test_modules_of_an_import_need_no_torch() -> None:
    code = "import sys, oarlock_trainer.importing.__main__ as m; sys.exit('torch' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_scanning_folders_needs_the_standard_library_alone() -> None:
    code = (
        "import sys, oarlock_trainer.importing.folders\n"
        "sys.exit(bool({'numpy', 'pyarrow', 'PIL', 'torch', 'pydantic'} & set(sys.modules)))"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
