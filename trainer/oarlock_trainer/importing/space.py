"""Room on volumes: refuses an import that cannot fit before it begins, and says how much is missing when it stops half-way."""

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from oarlock_trainer.errors import StorageError

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_LABEL_BYTES = 4
_SPARE = 1.02
"""Descriptions, padding, file system blocks."""


def estimate_bytes(samples: int, *, sample_bytes: int) -> int:
    """Return what a data set takes on disk. Pure."""
    return int(samples * (sample_bytes + _LABEL_BYTES) * _SPARE) + 2**16


def check_space(folder: Path, needed: int, *, what: str, remedy: str) -> None:
    """Refuse if the file system of `folder` has less than `needed` bytes free.

    Raises:
        StorageError: naming the folder, what is needed and what is free.
    """
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise StorageError(
            f"{what} needs {render_bytes(needed)} in {folder}, where {render_bytes(free)} are free",
            remedy=remedy,
            full=True,
        )


@contextmanager
def storage_errors(folder: Path, *, doing: str, needed: int | None = None) -> Iterator[None]:
    """Turn what the operating system refuses while `doing` something in `folder` into a StorageError."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise StorageError(
                f"{doing} failed at {error.filename or folder}: {error.strerror or error}",
                remedy="check that the volume is mounted, writable and healthy, then let the import run again",
            ) from error
        total = f" of the {render_bytes(needed)} that it needs" if needed is not None else ""
        raise StorageError(
            f"{doing} filled {folder}: {render_bytes(_free(folder))} are free{total} ({error.strerror or error})",
            remedy="free space on the volume or enlarge it (spec.storage.size); finished files are kept for the next import",
            full=True,
        ) from error


def _free(folder: Path) -> int:
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return 0


def render_bytes(count: int) -> str:
    """Return a size as people read it. Pure."""
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:  # noqa: PLR2004  # bytes of a KiB
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"
