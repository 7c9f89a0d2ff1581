"""An attempt takes over while the one before, given up but alive, works in the same folders: neither takes that for a broken volume."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from checkpointing.tiny_runs import list_steps, make_checkpointer, make_state, save_now, train_step

from oarlock_trainer.checkpoints.folders import remove_leftovers, restore_replaced
from oarlock_trainer.checkpoints.hashing import HashingFileSystem
from oarlock_trainer.errors import SupersededError

PARTIAL = "step-000000003.a0.partial"
REPLACED = "step-000000003.a0.replaced"


@pytest.fixture
def checkpoints(tmp_path: Path) -> Path:
    """Two half-written checkpoints of the attempt before."""
    for name in (PARTIAL, "step-000000004.a0.partial"):
        (tmp_path / "checkpoints" / name).mkdir(parents=True)
        (tmp_path / "checkpoints" / name / "file").write_bytes(b"half")
    return tmp_path / "checkpoints"


def interfere(monkeypatch: pytest.MonkeyPatch, call: str, zombie: Callable[[], object]) -> None:
    """Let the zombie act once, right before the next `call` to the operating system."""
    real: Callable[..., Any] = getattr(os, call)
    turns: Iterator[Callable[[], object]] = iter([zombie])

    def act(*arguments: Any, **options: Any) -> Any:
        next(turns, lambda: None)()
        return real(*arguments, **options)

    monkeypatch.setattr(os, call, act)


def test_leftovers_are_removed_when_their_writer_still_writes_there(
    checkpoints: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interfere(monkeypatch, "rmdir", lambda: (checkpoints / PARTIAL / "late").write_bytes(b"more"))
    remove_leftovers(checkpoints, attempt=1)
    assert list(checkpoints.iterdir()) == []


@pytest.mark.parametrize("call", ["unlink", "rmdir"])
def test_leftovers_are_removed_when_their_writer_removes_them_too(
    checkpoints: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    interfere(monkeypatch, call, lambda: shutil.rmtree(checkpoints / PARTIAL))
    remove_leftovers(checkpoints, attempt=1)
    assert list(checkpoints.iterdir()) == []


def test_clearing_ends_though_something_is_added_again_and_again(
    checkpoints: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.rmdir

    def add_and_remove(*arguments: Any, **options: Any) -> None:
        (checkpoints / PARTIAL / "late").write_bytes(b"more")
        real(*arguments, **options)

    monkeypatch.setattr(os, "rmdir", add_and_remove)
    remove_leftovers(checkpoints, attempt=1)
    assert [folder.name for folder in checkpoints.iterdir()] == [PARTIAL]


def test_clearing_fails_when_the_volume_refuses(checkpoints: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "unlink", refuse)
    with pytest.raises(PermissionError):
        remove_leftovers(checkpoints, attempt=1)


@pytest.mark.parametrize("zombie", [shutil.rmtree, lambda folder: folder.rename(folder.with_name("step-000000003"))])
def test_what_was_replaced_is_no_trouble_when_its_writer_deals_with_it_first(
    checkpoints: Path, monkeypatch: pytest.MonkeyPatch, zombie: Callable[[Path], object]
) -> None:
    (checkpoints / PARTIAL).rename(checkpoints / REPLACED)
    interfere(monkeypatch, "rename", lambda: zombie(checkpoints / REPLACED))
    restore_replaced(checkpoints, attempt=1)
    assert not (checkpoints / REPLACED).exists()


def test_what_was_replaced_goes_when_its_replacement_stands(checkpoints: Path) -> None:
    shutil.copytree(checkpoints / PARTIAL, checkpoints / "step-000000003")
    (checkpoints / PARTIAL).rename(checkpoints / REPLACED)
    restore_replaced(checkpoints, attempt=1)
    assert not (checkpoints / REPLACED).exists()
    assert (checkpoints / "step-000000003/file").read_bytes() == b"half"


def test_the_zombie_says_that_it_is_superseded_when_its_half_written_checkpoint_is_cleared_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    zombie, state = make_checkpointer(tmp_path, attempt=0), make_state()
    train_step(state)
    save_now(zombie, state)
    train_step(state)
    verify = HashingFileSystem.verify

    def lose_and_verify(files: HashingFileSystem, folder: Path) -> Any:
        successor = make_checkpointer(tmp_path, attempt=1)
        successor.claim_fence()
        successor.load_latest(make_state())
        return verify(files, folder)

    monkeypatch.setattr(HashingFileSystem, "verify", lose_and_verify)
    with pytest.raises(SupersededError):
        save_now(zombie, state)
    assert list_steps(tmp_path) == [1]
