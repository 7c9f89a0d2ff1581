"""Objects as JSON files, each written atomically: a crash at any moment leaves the version before or the one after.

One process owns a store at a time; others may read the files. It keeps what it is given and gives each write a new
resourceVersion; what objects mean is the cluster's business.
"""

import contextlib
import copy
import fcntl
import json
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from oarlock_operator.reconcile.plans import Reference

Object = dict[str, Any]

_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
_NO_NAMESPACE = "_"
_NAMELESS_SECONDS, _LOOK_SECONDS = 2.0, 0.02
"""How long a lock may be nobody's: of one that has it and has not yet said so, or that only looks who has it."""


class StoreInUseError(Exception):
    """Another process owns the store."""

    def __init__(self, folder: Path, pid: str) -> None:
        super().__init__(f"{folder} is in use by {f'process {pid}' if pid else 'another process'}")
        self.pid = pid


class DamagedStoreError(Exception):
    """A file of the store is not what was written there."""


class ObjectStore:
    """All objects of a cluster, in memory and on disk."""

    def __init__(self, folder: Path) -> None:
        """Take possession of the store in `folder`, which need not exist.

        Raises:
            StoreInUseError: names the process that owns it.
            DamagedStoreError: names the file.
        """
        self._objects_folder = folder / "objects"
        self._revision_file = folder / "revision"
        self._objects_folder.mkdir(parents=True, exist_ok=True)
        self._lock = _take_lock(folder)
        self._objects = {reference_to(found): found for found in read_objects(folder)}
        self._revision = max([_read_revision(self._revision_file), *map(_revision_of, self._objects.values())])

    def close(self) -> None:
        self._lock.close()

    def get(self, reference: Reference) -> Object | None:
        found = self._objects.get(reference)
        return copy.deepcopy(found) if found is not None else None

    def list(self, kind: str | None = None) -> list[Object]:
        return [copy.deepcopy(found) for found in self.peek(kind)]

    def peek(self, kind: str | None = None) -> Iterator[Object]:
        """Yield the objects themselves, to be read at once and never changed."""
        return (found for found in list(self._objects.values()) if kind is None or found["kind"] == kind)

    def put(self, item: Object) -> Object:
        """Write an object with a new resourceVersion; return it as stored."""
        stored = copy.deepcopy(item)
        stored["metadata"]["resourceVersion"] = str(self._revision + 1)
        reference = reference_to(stored)
        _write_atomically(self._path(reference), json.dumps(stored, indent=1))
        self._revision += 1
        self._objects[reference] = stored
        return copy.deepcopy(stored)

    def remove(self, reference: Reference) -> Object:
        """Remove an object; return its last version, with the resourceVersion of the removal."""
        # The highest revision goes to disk first, because the object that holds it may be the one that goes.
        _write_atomically(self._revision_file, str(self._revision + 1))
        self._path(reference).unlink(missing_ok=True)
        self._revision += 1
        removed = self._objects.pop(reference)
        removed["metadata"]["resourceVersion"] = str(self._revision)
        return removed

    def _path(self, reference: Reference) -> Path:
        return self._objects_folder / reference.kind / (reference.namespace or _NO_NAMESPACE) / f"{reference.name}.json"


def reference_to(item: Object) -> Reference:
    """Return the reference to an object."""
    metadata = item["metadata"]
    return Reference(kind=item["kind"], namespace=metadata.get("namespace", ""), name=metadata["name"])


def is_name(text: str) -> bool:
    """Say whether an object can have this name: a DNS subdomain, and so a file name that leads nowhere else."""
    return len(text) <= 253 and bool(_NAME.fullmatch(text)) and ".." not in text  # noqa: PLR2004  # the longest DNS name


def read_objects(folder: Path) -> Iterator[Object]:
    """Yield the objects of a store, which another process may be writing to.

    Raises:
        DamagedStoreError: names the file.
    """
    for path in sorted((folder / "objects").glob("*/*/*.json")):
        try:
            yield json.loads(path.read_text())
        except FileNotFoundError:
            continue  # removed since it was listed
        except ValueError as error:
            raise DamagedStoreError(f"{path} is not valid JSON ({error}): restore or delete it") from None


def _take_lock(folder: Path) -> IO[str]:
    """Lock the store for as long as this process lives, and say who owns it."""
    lock = (folder / "lock").open("a+")
    last_look = time.monotonic() + _NAMELESS_SECONDS
    while not _is_locked_now(lock):
        owner, is_last = _read_live_owner(lock), time.monotonic() > last_look
        if owner or is_last:
            lock.close()
            raise StoreInUseError(folder, owner)
        time.sleep(_LOOK_SECONDS)
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
    return lock


def _is_locked_now(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read_live_owner(lock: IO[str]) -> str:
    """Return the process that says it has the lock; empty if that is the one before it, or none."""
    lock.seek(0)
    owner = lock.read().strip()
    if not owner.isdigit():
        return ""
    try:
        os.kill(int(owner), 0)
    except (ProcessLookupError, OverflowError):
        return ""
    except PermissionError:
        pass  # it lives, and is another user's
    return owner


def find_owner(folder: Path) -> int | None:
    """Return the process that owns a store; None if nobody does."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError), (folder / "lock").open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            text = lock.read().strip()
            return int(text) if text.isdigit() else None
    return None


def _read_revision(path: Path) -> int:
    try:
        return int(path.read_text())
    except FileNotFoundError:
        return 0
    except ValueError as error:
        raise DamagedStoreError(f"{path} does not hold a number ({error}): delete it") from None


def _revision_of(item: Object) -> int:
    return int(item["metadata"]["resourceVersion"])


def _write_atomically(path: Path, text: str) -> None:
    """Write a file so that it holds, even after a power failure, either what it held before or all of `text`."""
    if not path.parent.is_dir():
        path.parent.mkdir(parents=True, exist_ok=True)
        _sync_folder(path.parent.parent)
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("w") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    partial.rename(path)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
