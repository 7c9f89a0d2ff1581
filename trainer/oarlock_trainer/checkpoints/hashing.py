"""DCP's view of the volume: each file that it writes is hashed on its way out, made durable, and read back for comparison.

The hash is taken of what was meant to be written. One that is taken of the file afterwards would call a byte that was lost on
the way correct.
"""

import hashlib
import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

from torch.distributed.checkpoint.filesystem import FileSystem

from oarlock_trainer.checkpoints.durability import CHUNK_BYTES, hash_file
from oarlock_trainer.checkpoints.manifest import FileFacts
from oarlock_trainer.errors import StorageError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


_SMALL_BYTES = 256 * 1024
"""An archive is written in dozens of small pieces for each tensor; they are gathered up to this."""


class HashingStream(io.RawIOBase):
    """A file being written. An error of the volume is kept until the end.

    torch's archive writer calls `write` from C++ and answers an exception there with one of its own, which has lost the errno
    and with it the difference between a full volume and a broken one.
    """

    def __init__(self, path: Path, on_chunk: Callable[[], None]) -> None:
        super().__init__()
        self._path, self._on_chunk = path, on_chunk
        self._file: IO[bytes] = path.open("wb", buffering=0)
        self._digest = hashlib.sha256()
        self._bytes = 0
        self._small = bytearray()
        self._error: OSError | None = None

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._bytes

    def write(self, data: "ReadableBuffer") -> int:
        view = memoryview(data).cast("B")
        self._bytes += len(view)
        if len(view) < _SMALL_BYTES:
            self._small += view
            if len(self._small) >= _SMALL_BYTES:
                self._write_small()
            return len(view)
        self._write_small()
        for start in range(0, len(view), CHUNK_BYTES):
            self._write_chunk(view[start : start + CHUNK_BYTES])
        return len(view)

    def _write_small(self) -> None:
        pieces, self._small = self._small, bytearray()
        self._write_chunk(memoryview(pieces))

    def _write_chunk(self, chunk: memoryview) -> None:
        self._digest.update(chunk)
        self._on_chunk()
        if self._error is None:
            try:
                _write_all(self._file, chunk)
            except OSError as error:
                self._error = error

    def seal(self) -> FileFacts:
        """Make the file durable and say what it must hold; raises the first error of the volume."""
        self._write_small()
        try:
            if self._error is not None:
                raise self._error
            os.fsync(self._file.fileno())
        finally:
            _close(self._file, failed=self._error is not None)
        return FileFacts(name=self._path.name, bytes=self._bytes, sha256=self._digest.hexdigest())


def _write_all(file: IO[bytes], chunk: memoryview) -> None:
    while chunk:
        chunk = chunk[file.write(chunk) :]


def _close(file: IO[bytes], *, failed: bool) -> None:
    """Close the file; after a failed write, closing tries to write again what was buffered."""
    try:
        file.close()
    except OSError:
        if not failed:
            raise


class HashingFileSystem(FileSystem):
    """Remembers what this rank wrote, by file name."""

    def __init__(self, on_chunk: Callable[[], None]) -> None:
        super().__init__()
        self._on_chunk = on_chunk
        self._written: dict[str, FileFacts] = {}

    @contextmanager
    def create_stream(self, path: str | os.PathLike[str], mode: str) -> Iterator[io.IOBase]:
        if "w" not in mode:
            with super().create_stream(path, mode) as stream:
                yield stream
            return
        hashing = HashingStream(Path(path), self._on_chunk)
        try:
            yield cast("io.IOBase", hashing)
        except BaseException:
            _close(hashing._file, failed=True)  # noqa: SLF001  # one class in two parts
            raise
        self._written[Path(path).name] = hashing.seal()

    def rename(self, path: str | os.PathLike[str], new_path: str | os.PathLike[str]) -> None:
        super().rename(path, new_path)
        name = Path(new_path).name
        self._written[name] = self._written.pop(Path(path).name).model_copy(update={"name": name})

    def verify(self, folder: Path) -> list[FileFacts]:
        """Read back from the volume all that this rank wrote.

        Raises:
            StorageError: if the volume returns something else than was written.
        """
        for name, expected in self._written.items():
            found = hash_file(folder / name, on_chunk=self._on_chunk)
            if found != expected:
                raise StorageError(
                    f"{folder / name} reads back as {found.bytes} bytes with SHA-256 {found.sha256[:12]}, "
                    f"written were {expected.bytes} bytes with SHA-256 {expected.sha256[:12]}",
                    remedy="the volume loses or changes data: check its health",
                )
        return list(self._written.values())
