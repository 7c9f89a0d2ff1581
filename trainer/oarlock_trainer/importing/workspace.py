"""The folder in which an import works, beside the versions that are finished, and the step that makes it one of them.

A version appears by a rename: it is complete or absent. What a crashed import left is used by the next import of the same spec and
removed by an import of another.
"""

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from oarlock_trainer.datasets import DatasetManifest, open_dataset
from oarlock_trainer.errors import StorageError, TrainerError
from oarlock_trainer.importing.space import storage_errors
from oarlock_trainer.importing.spool import SPOOL_NAME

_PREFIX = ".importing-"
_LOCK_NAME = ".importing.lock"
DONE_ENDING = ".done"
"""Ending of the note that a shard is finished, beside the shard."""


@contextmanager
def open_workspace(data_dir: Path, key: str) -> Iterator[Path]:
    """Yield the folder in which to import the spec whose hash is `key`; no other import works in `data_dir` meanwhile.

    Raises:
        StorageError: if the volume cannot be written, or another import works there.
    """
    with storage_errors(data_dir, doing="preparing the folder of the import"):
        data_dir.mkdir(parents=True, exist_ok=True)
        lock = os.open(data_dir / _LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        _take(lock, data_dir)
        folder = data_dir / f"{_PREFIX}{key}"
        with storage_errors(data_dir, doing="preparing the folder of the import"):
            _remove_leftovers(data_dir, keep=folder)
            folder.mkdir(exist_ok=True)
        yield folder
    finally:
        os.close(lock)


def _take(lock: int, data_dir: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise StorageError(
            f"another import is writing to {data_dir}", remedy="wait for it to end, or delete its pod"
        ) from error
    except OSError:
        # A network file system without locks: the names of import pods keep two of them apart.
        return


def _remove_leftovers(data_dir: Path, *, keep: Path) -> None:
    for left in data_dir.glob(f"{_PREFIX}*"):
        if left != keep and left.is_dir():
            shutil.rmtree(left)


def publish(workspace: Path, manifest: DatasetManifest, *, beat: Callable[[], None]) -> Path:
    """Make the finished workspace the version that it holds, and return that version's folder.

    If the same version is there and intact, that one stays; a damaged one is replaced.

    Raises:
        StorageError: if the volume refuses.
    """
    target = workspace.parent / manifest.version
    with storage_errors(workspace.parent, doing="publishing the data set"):
        if target.exists() and _is_intact(target, manifest, beat):
            shutil.rmtree(workspace)
            return target
        for note in (*workspace.glob(f"*{DONE_ENDING}"), workspace / SPOOL_NAME):
            note.unlink(missing_ok=True)
        _sync(workspace)
        if target.exists():
            damaged = workspace.with_name(f"{_PREFIX}damaged-{manifest.version}")
            shutil.rmtree(damaged, ignore_errors=True)
            # Jobs that have the old files mapped keep them; nobody opens them by name any more.
            target.rename(damaged)
        workspace.rename(target)
        _sync(workspace.parent)
        shutil.rmtree(workspace.with_name(f"{_PREFIX}damaged-{manifest.version}"), ignore_errors=True)
    return target


def _is_intact(folder: Path, manifest: DatasetManifest, beat: Callable[[], None]) -> bool:
    try:
        dataset = open_dataset(folder)
        dataset.verify(beat=beat)
    except TrainerError:
        return False
    return dataset.manifest.version == manifest.version


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
