"""Writing so that it survives a power cut, and reading so that it is the volume that answers and not the page cache.

No torch and nothing of checkpoints here: files, folders, hashes.
"""

import contextlib
import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from oarlock_trainer.checkpoints.manifest import FileFacts

CHUNK_BYTES = 8 * 1024 * 1024


def write_durably(path: Path, content: bytes) -> None:
    """Replace the file at `path`: after a crash there is either the old content or the new one, never a part."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with draft.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.rename(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` durable; a file's own fsync does not."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def hash_file(path: Path, *, on_chunk: Callable[[], None] = lambda: None) -> FileFacts:
    """Read the file from the volume, past the page cache where the kernel allows, and say what it is."""
    digest = hashlib.sha256()
    size = 0
    with path.open("rb", buffering=0) as file:
        drop_cached_pages(file.fileno())
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
            size += len(chunk)
            on_chunk()
    return FileFacts(name=path.name, bytes=size, sha256=digest.hexdigest())


def drop_cached_pages(descriptor: int) -> None:
    """Ask the kernel to forget the file's clean pages; memory file systems and a few others cannot."""
    with contextlib.suppress(OSError):
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)


def delete_folder(folder: Path, *, suffix: str) -> None:
    """Delete a folder so that a crash in the middle leaves nothing under its own name.

    Args:
        folder: What to delete.
        suffix: Ends the name that it has while it is being deleted, `.deleting` for example.
    """
    doomed = folder.with_name(folder.name + suffix)
    if doomed.exists():
        shutil.rmtree(doomed)
    folder.rename(doomed)
    sync_folder(folder.parent)
    shutil.rmtree(doomed)


def folder_bytes(folder: Path) -> int:
    """Return the size of the files in `folder` now; 0 while it does not exist."""
    try:
        with os.scandir(folder) as entries:
            return sum(_size(entry) for entry in entries)
    except OSError:
        return 0


def _size(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat().st_size
    except FileNotFoundError:
        return 0


def free_bytes(folder: Path) -> int:
    """Return the bytes that an unprivileged process may still write to the volume of `folder`."""
    volume = os.statvfs(folder)
    return volume.f_bavail * volume.f_frsize


def format_bytes(count: float) -> str:
    """Return `count` as a person reads it: `412.0 MB`."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:  # noqa: PLR2004  # the step from one unit to the next
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
