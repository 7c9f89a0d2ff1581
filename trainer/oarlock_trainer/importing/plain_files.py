"""Opens files that may be gzipped, whatever their names say, and says what is wrong with them in one way."""

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from oarlock_trainer.errors import DataCorruptError, DataMissingError, StorageError

_GZIP_MAGIC = b"\x1f\x8b"


@contextmanager
def open_plain(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for reading, unpacking it on the way if it is gzipped.

    Raises:
        DataMissingError: if there is no such file.
        DataCorruptError: if it is gzipped and broken, also while it is read within the context.
        StorageError: if it cannot be read.
    """
    if not path.is_file():
        finding = "is a folder, not a file" if path.is_dir() else "does not exist"
        raise DataMissingError(f"{path} {finding}", remedy="check the source's path and the layout of the Dataset")
    try:
        with path.open("rb") as raw:
            packed = raw.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC
            raw.seek(0)
            if packed:
                with gzip.open(raw, "rb") as unpacked:
                    yield cast("IO[bytes]", unpacked)
            else:
                yield raw
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        remedy = "copy or download the file again; `gzip --test` must accept it"
        raise DataCorruptError(f"{path} is a broken gzip file: {error}", remedy=remedy) from error
    except OSError as error:
        raise StorageError.from_os_error(error, doing="reading the source", path=path) from error


def resolve_inside(root: Path, path: str) -> Path:
    """Return `root / path`.

    Raises:
        DataMissingError: if the path leads out of the source.
    """
    if path.startswith("/") or ".." in Path(path).parts:
        raise DataMissingError(
            f"the path {path!r} leads out of the source",
            remedy="write paths relative to the source, without .. and without / at the beginning",
        )
    return root / path
