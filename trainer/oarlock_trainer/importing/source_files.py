"""Reads the files of a source, and tells apart what is wrong with one file from what is wrong with the volume that it is on."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from oarlock_trainer.errors import StorageError

_READ_BYTES = 2**18


class UnreadableSampleError(Exception):
    """A file that cannot be part of a data set; its text is the reason."""


class SourceReadError(OSError):
    """The source could not be read, which says nothing about the file itself: the volume is in trouble."""


@contextmanager
def source_errors() -> Iterator[None]:
    """Turn a SourceReadError into a StorageError."""
    try:
        yield
    except SourceReadError as error:
        raise StorageError(
            f"reading the source failed at {error.filename}: {error.strerror}",
            remedy="check that the source's volume is mounted and healthy, then let the import run again",
        ) from error


def read_source_file(path: str) -> bytes:
    """Return the content of a file; the path is a plain string, since making a Path takes as long as reading a small image.

    Raises:
        UnreadableSampleError: if this file cannot be read, whatever the reason that lies in the file.
        SourceReadError: if the volume does not answer.
    """
    try:
        # Without O_NONBLOCK a pipe with the name of an image would stop the import for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise UnreadableSampleError("it is not a file")
            return _read_all(descriptor)
        finally:
            os.close(descriptor)
    except FileNotFoundError as error:
        finding = "it is a link that leads nowhere" if Path(path).is_symlink() else "it vanished while the import ran"
        raise UnreadableSampleError(finding) from error
    except PermissionError as error:
        raise UnreadableSampleError("it may not be read (permission denied)") from error
    except OSError as error:
        raise SourceReadError(error.errno, error.strerror, path) from error


def _read_all(descriptor: int) -> bytes:
    """Read to the end; most images come in one piece, which spares the joining."""
    content = os.read(descriptor, _READ_BYTES)
    if len(content) < _READ_BYTES:
        return content
    parts = [content]
    while part := os.read(descriptor, _READ_BYTES):
        parts.append(part)
    return b"".join(parts)
