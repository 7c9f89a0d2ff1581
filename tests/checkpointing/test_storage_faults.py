import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from checkpointing.tiny_runs import list_steps, make_checkpointer, make_state, save_now, train_step

from oarlock_api.contract import Cause
from oarlock_trainer.checkpoints.hashing import HashingFileSystem
from oarlock_trainer.errors import StorageError


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A volume of 1 MiB."""
    if os.geteuid() != 0:
        pytest.skip("NOT RUN: only root can mount a small volume")
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(tmp_path)]
    if subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        pytest.skip("NOT RUN: this sandbox does not let root mount")
    yield tmp_path
    subprocess.run(["umount", str(tmp_path)], check=True)


def fill(volume: Path, *, leave: int) -> Path:
    stats = os.statvfs(volume)
    ballast = volume / "ballast"
    ballast.write_bytes(b"x" * (stats.f_bavail * stats.f_frsize - leave))
    return ballast


def test_folder_needed_and_free_are_named_when_the_volume_is_full(small: Path) -> None:
    checkpointer, state = make_checkpointer(small), make_state()
    train_step(state)
    fill(small, leave=8192)

    with pytest.raises(StorageError, match=r"checkpoints is too full .* kB needed, 8\.2 kB free") as error:
        save_now(checkpointer, state)
    assert error.value.cause is Cause.STORAGE_FULL
    assert "must hold 5 checkpoints" in error.value.remedy


def test_the_full_volume_is_recognised_when_it_fills_up_during_the_write(small: Path) -> None:
    checkpointer, state = make_checkpointer(small), make_state()
    train_step(state)
    save_now(checkpointer, state)
    train_step(state)
    fill(small, leave=64 * 1024)

    with pytest.raises(
        StorageError, match=r"writing the checkpoint of step 2 failed.*No space left on device"
    ) as error:
        save_now(checkpointer, state)
    assert error.value.cause is Cause.STORAGE_FULL
    assert [folder.name for folder in (small / "checkpoints").iterdir()] == ["step-000000001"]


def test_training_goes_on_once_with_a_warning_when_a_save_fails(small: Path) -> None:
    checkpointer, state = make_checkpointer(small), make_state()
    train_step(state)
    fill(small, leave=8192)
    checkpointer.begin_save(state, step=1, epoch=0.0)
    checkpointer.begin_save(state, step=2, epoch=0.0)
    result = checkpointer.poll()

    assert result is not None
    assert result.facts is None
    assert result.failure is not None
    assert "step 1 was not saved and the next one is tried at the next interval" in result.warnings[0]
    with pytest.raises(StorageError):
        checkpointer.finish()


def test_a_failure_is_forgiven_again_when_a_save_has_succeeded_meanwhile(small: Path) -> None:
    checkpointer, state = make_checkpointer(small), make_state()
    train_step(state)
    for step in (1, 2):
        ballast = fill(small, leave=8192)
        checkpointer.begin_save(state, step=10 * step, epoch=0.0)
        checkpointer._await_flight()
        failed = checkpointer.poll()
        ballast.unlink()
        saved = save_now(checkpointer, state, step=10 * step + 1)

        assert failed is not None
        assert failed.failure is not None
        assert saved.facts.step == 10 * step + 1


def test_nothing_is_written_when_the_volume_is_read_only(small: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small)], check=True)
    state = make_state()
    train_step(state)
    with pytest.raises(StorageError, match="Read-only file system") as error:
        save_now(make_checkpointer(small), state)

    assert error.value.cause is Cause.STORAGE_FAILED
    with pytest.raises(StorageError, match="Read-only file system"):
        make_checkpointer(small).claim_fence()


def test_the_cause_is_the_storage_when_the_folder_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").write_bytes(b"")
    state = make_state()
    train_step(state)
    with pytest.raises(StorageError, match=r"File exists|Not a directory"):
        save_now(make_checkpointer(tmp_path), state)


def test_a_volume_that_returns_something_else_is_found_out_before_the_checkpoint_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    verify = HashingFileSystem.verify

    def verify_on_a_bad_volume(files: HashingFileSystem, folder: Path) -> object:
        content = (folder / "__0_0.distcp").read_bytes()
        (folder / "__0_0.distcp").write_bytes(content[:99] + bytes([content[99] ^ 1]) + content[100:])
        return verify(files, folder)

    monkeypatch.setattr(HashingFileSystem, "verify", verify_on_a_bad_volume)
    state = make_state()
    train_step(state)
    with pytest.raises(StorageError, match=r"__0_0\.distcp reads back as .* written were"):
        save_now(make_checkpointer(tmp_path), state)
    assert list_steps(tmp_path) == []


def test_loading_and_saving_give_beats_when_the_volume_works(tmp_path: Path) -> None:
    beats: list[int] = []
    checkpointer, state = make_checkpointer(tmp_path, on_beat=lambda: beats.append(1)), make_state(width=20_000)
    train_step(state)
    save_now(checkpointer, state)
    saved = len(beats)
    make_checkpointer(tmp_path, on_beat=lambda: beats.append(1)).load_latest(make_state(width=20_000))

    assert saved > 1
    assert len(beats) > saved + 3


def test_waiting_gives_no_beats_when_the_volume_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counted, beats = [], []
    verify = HashingFileSystem.verify

    def hang(*arguments: Any) -> Any:
        counted.append(len(beats))
        time.sleep(0.5)
        counted.append(len(beats))
        return verify(*arguments)

    monkeypatch.setattr(HashingFileSystem, "verify", hang)
    checkpointer, state = make_checkpointer(tmp_path, on_beat=lambda: beats.append(time.monotonic())), make_state()
    train_step(state)
    checkpointer.begin_save(state, step=1, epoch=0.0)
    result = checkpointer.finish()

    assert result is not None
    assert result.facts is not None
    # What was written right before may be seen when it hangs already.
    assert counted[1] - counted[0] <= 1
