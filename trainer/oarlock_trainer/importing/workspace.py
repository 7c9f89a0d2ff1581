"""The folder in which an import works, beside the versions that are finished, and the step that makes it one of them.

A version appears by a rename: it is complete or absent. Every attempt works in a folder of its own, because the one before may
still run on a node that nobody reaches. It puts down a mark, renames the older folder, which takes it from under whoever still
writes there, and takes over what is finished by a second name for the same file, which the older one never opens again.
"""

import fcntl
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from oarlock_trainer.datasets import DatasetManifest, open_dataset
from oarlock_trainer.errors import StorageError, SupersededError, TrainerError
from oarlock_trainer.importing.space import storage_errors
from oarlock_trainer.importing.spool import SPOOL_NAME

_PREFIX = ".importing-"
_TAKEN = ".taken"
_MARK = re.compile(r"\.attempt-(\d+)")
DONE_ENDING = ".done"
"""Ending of the note that a shard is finished, beside the shard."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Workspace:
    """One attempt's place on the volume."""

    data_dir: Path
    key: str
    """Hash of the spec that is imported."""
    attempt: int

    @property
    def folder(self) -> Path:
        return self.data_dir / f"{_PREFIX}{self.key}-a{self.attempt}"

    @property
    def mark(self) -> Path:
        """File that says that this attempt was here; locked while it works."""
        return self.data_dir / f".attempt-{self.attempt}"

    def check(self) -> None:
        """Raise SupersededError if a later attempt has begun."""
        marks = [_MARK.fullmatch(name) for name in os.listdir(self.data_dir)]  # noqa: PTH208  # names are all that counts
        highest = max((int(mark[1]) for mark in marks if mark), default=self.attempt)
        if highest > self.attempt:
            raise SupersededError(
                f"attempt {highest} of this import works in {self.data_dir}; this is attempt {self.attempt}",
                remedy="nothing is to be done: the later attempt goes on",
            )


@contextmanager
def open_workspace(data_dir: Path, key: str, *, attempt: int = 0) -> Iterator[Workspace]:
    """Yield the place in which `attempt` imports the spec whose hash is `key`, with what earlier attempts have finished.

    Raises:
        StorageError: if the volume cannot be written, or another process of the same attempt works there.
        SupersededError: if a later attempt has begun.
    """
    workspace = Workspace(data_dir=data_dir, key=key, attempt=attempt)
    with storage_errors(data_dir, doing="preparing the folder of the import"):
        data_dir.mkdir(parents=True, exist_ok=True)
        workspace.check()
        lock = os.open(workspace.mark, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        _take(lock, data_dir)
        with storage_errors(data_dir, doing="preparing the folder of the import"):
            _sync(data_dir)
            workspace.check()
            workspace.folder.mkdir(exist_ok=True)
            _take_over(workspace)
        yield workspace
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
        # A network file system without locks: the names of import pods keep two of one attempt apart.
        return


def _take_over(workspace: Workspace) -> None:
    """Take what earlier attempts have finished of the same spec, and remove everything else that they left."""
    for left in sorted(workspace.data_dir.glob(f"{_PREFIX}*")):
        if left == workspace.folder or not left.is_dir():
            continue
        taken = _cut_off(left)
        if left.name.startswith(f"{_PREFIX}{workspace.key}-"):
            for note in taken.glob(f"*{DONE_ENDING}"):
                _take_shard(note, workspace.folder)
        # An older import that still runs may add to it meanwhile: what is left then goes with the next one.
        shutil.rmtree(taken, ignore_errors=True)


def _cut_off(left: Path) -> Path:
    """Rename a folder, so that an older import can neither write there nor publish it."""
    if left.name.endswith(_TAKEN):
        return left
    taken = left.with_name(f"{left.name}{_TAKEN}")
    shutil.rmtree(taken, ignore_errors=True)
    return left.rename(taken)


def _take_shard(note: Path, folder: Path) -> None:
    """Take a finished shard; one that cannot be taken is made again."""
    shard = note.with_suffix("")
    try:
        (folder / shard.name).hardlink_to(shard)
        # A copy, since it may just be being written: torn, it counts as none.
        (folder / note.name).write_bytes(note.read_bytes())
    except OSError:
        return


def publish(workspace: Workspace, manifest: DatasetManifest, *, beat: Callable[[], None]) -> Path:
    """Make the finished workspace the version that it holds, and return that version's folder.

    If the same version is there and intact, that one stays; a damaged one is replaced.

    Raises:
        StorageError: if the volume refuses.
        SupersededError: if a later attempt has begun.
    """
    folder = workspace.folder
    target = workspace.data_dir / manifest.version
    with storage_errors(workspace.data_dir, doing="publishing the data set"):
        workspace.check()
        if target.exists() and _is_intact(target, manifest, beat):
            shutil.rmtree(folder)
            return target
        for note in (*folder.glob(f"*{DONE_ENDING}"), folder / SPOOL_NAME):
            note.unlink(missing_ok=True)
        _sync(folder)
        workspace.check()
        if target.exists():
            damaged = workspace.data_dir / f"{_PREFIX}damaged-{manifest.version}"
            shutil.rmtree(damaged, ignore_errors=True)
            # Jobs that have the old files mapped keep them; nobody opens them by name any more.
            target.rename(damaged)
        folder.rename(target)
        _sync(workspace.data_dir)
        shutil.rmtree(workspace.data_dir / f"{_PREFIX}damaged-{manifest.version}", ignore_errors=True)
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
