"""What is said of a rank that SIGBUS killed: by the sizes of the data set's files, and never by waiting for a volume."""

import json
import os
import signal
from pathlib import Path

import pytest

from oarlock_api.contract import Cause, Failure, PodPhase
from oarlock_trainer.agent.evidence import Evidence
from oarlock_trainer.agent.lost_files import look_for_lost_file
from oarlock_trainer.agent.process_tree import ProcessEnd
from oarlock_trainer.agent.verdict import decide_verdict
from oarlock_trainer.rank_record import RankReading


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    names = ("train-00000.arrow", "train-00001.arrow")
    for name in names:
        (tmp_path / name).write_bytes(b"x" * 100)
    shards = {"train": [{"file": name, "bytes": 100} for name in names]}
    (tmp_path / "dataset.json").write_text(json.dumps({"shards": shards}))
    return tmp_path


def tell(
    folder: Path, *, number: int = signal.SIGBUS, patience: float = 60.0, printed: tuple[str, ...] = ()
) -> Failure:
    """Return what is said of rank 3 of node 1, which a signal killed."""
    reading = RankReading(rank=3, pid=7, phase=PodPhase.TRAINING, counter=1, step=5, position=50, since=1.0)
    found = Evidence(
        program="torchrun",
        node=1,
        nodes=2,
        processes=2,
        readings={1: reading},
        ends={1: ProcessEnd(signal=number, at=1.0)},
        last_lines=printed,
        lost_file=look_for_lost_file(folder, patience=patience),
    )
    failure = decide_verdict(found).failure
    assert failure is not None
    assert (failure.rank, failure.step) == (3, 5)
    return failure


def test_file_is_named_when_it_is_shorter_than_at_import(folder: Path) -> None:
    os.truncate(folder / "train-00001.arrow", 7)
    failure = tell(folder)

    assert failure.cause == Cause.DATA_CORRUPT
    assert (
        f"killed by SIGBUS in phase Training after step 5. A page of a mapped file was not to be had; {folder}/train-00001.arrow has 7 bytes"
        in failure.message
    )
    assert "import the Dataset again" in failure.remedy


def test_file_is_named_when_it_is_gone(folder: Path) -> None:
    (folder / "train-00000.arrow").unlink()

    assert tell(folder).cause == Cause.DATA_MISSING
    assert "train-00000.arrow is missing" in tell(folder).message


def test_volume_is_named_when_it_does_not_answer(folder: Path) -> None:
    path = folder / "dataset.json"
    path.unlink()
    os.mkfifo(path)
    failure = tell(folder, patience=0.05)
    os.close(os.open(path, os.O_RDWR))  # whoever still waits for it goes on

    assert failure.cause == Cause.STORAGE_FAILED
    assert f"the volume of the data set, at {folder}, does not answer" in failure.message


def test_volume_is_named_when_it_refuses(folder: Path) -> None:
    (folder / "dataset.json").unlink()
    (folder / "dataset.json").mkdir()

    assert tell(folder).cause == Cause.STORAGE_FAILED
    assert "dataset.json: Is a directory" in tell(folder).message


@pytest.mark.parametrize("description", [None, "{", "[]", '{"shards": {"train": [3]}}'])
def test_both_candidates_are_named_when_the_sizes_tell_nothing(folder: Path, description: str | None) -> None:
    if description is not None:
        (folder / "dataset.json").write_text(description)
    failure = tell(folder)

    assert failure.cause == Cause.PROCESS_KILLED
    assert "the data set's volume" in failure.remedy
    assert "/dev/shm" in failure.remedy


def test_files_are_not_blamed_when_the_rank_said_what_it_was_or_died_of_something_else(folder: Path) -> None:
    os.truncate(folder / "train-00001.arrow", 7)
    printed = ("RuntimeError: DataLoader worker (pid 41) is killed by signal: Bus error. It is possible that ...",)

    assert tell(folder, printed=printed).cause == Cause.OUT_OF_MEMORY
    assert tell(folder, number=signal.SIGSEGV).cause == Cause.PROCESS_KILLED
