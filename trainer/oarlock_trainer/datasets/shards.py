"""One Arrow IPC file of inputs and targets: written in one go, read through a memory map without copying.

The file holds a single uncompressed record batch, so that each column is one contiguous array. A file is opened only after its
checksum was verified: Arrow's reader trusts the offsets that it finds.
"""

import hashlib
import json
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from oarlock_trainer.datasets.columns import Column, Columns
from oarlock_trainer.datasets.manifest import ShardFacts
from oarlock_trainer.errors import DataCorruptError, DataMissingError, StorageError

SHARD_BYTES = 16 * 2**20
"""Numbers per file at most: many enough files for all cores and for resuming, large enough to be read in sequence."""

_REMEDY = "delete the folder of this data set version and import the Dataset again"


def shard_schema(columns: Columns) -> pa.Schema:
    """Return the schema of every shard of a data set with these columns."""
    return pa.schema([_field(column) for column in columns.stored])


def _field(column: Column) -> pa.Field:
    number = pa.from_numpy_dtype(np.dtype(column.dtype))
    if not column.shape:
        return pa.field(column.name, number)
    shape = {"shape": json.dumps(list(column.shape))}
    return pa.field(column.name, pa.list_(number, math.prod(column.shape)), metadata=shape)


def write_shard(path: Path, columns: Columns, inputs: NDArray[Any], targets: NDArray[Any] | None) -> ShardFacts:
    """Write inputs [N, ...] and targets [N, ...] as a new file that is on the disk when this returns.

    Raises:
        OSError: if it cannot be written; what was written so far stays.
        ValueError: if they do not fit the columns.
    """
    given = (inputs,) if columns.target is None or targets is None else (inputs, targets)
    rows = [column.cast(values) for column, values in zip(columns.stored, given, strict=True)]
    schema = shard_schema(columns)
    batch = pa.record_batch(
        [_to_arrow(values, field) for values, field in zip(rows, schema, strict=True)], schema=schema
    )
    with path.open("wb") as file:
        hashing = _HashingFile(file)
        with pa.ipc.new_file(pa.PythonFile(hashing, mode="w"), schema) as writer:
            writer.write_batch(batch)
        file.flush()
        os.fsync(file.fileno())
    return ShardFacts(
        file=path.name,
        samples=len(inputs),
        bytes=path.stat().st_size,
        sha256=hashing.digest.hexdigest(),
        content=hash_content(rows),
    )


def _to_arrow(values: NDArray[Any], field: pa.Field) -> pa.Array:
    flat = pa.array(values.reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, type=field.type) if pa.types.is_fixed_size_list(field.type) else flat


def hash_content(rows: Sequence[NDArray[Any]]) -> str:
    """Return the SHA-256 of the columns' numbers, in row order, the input last, whatever file they are in."""
    digest = hashlib.sha256()
    for values in reversed(rows):
        digest.update(values.astype(values.dtype.newbyteorder("<"), copy=False).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def verify_shard(folder: Path, facts: ShardFacts) -> None:
    """Read the whole file and compare it with what was written.

    Raises:
        DataMissingError: if it is not there.
        DataCorruptError: if its size or checksum is another.
        StorageError: if it cannot be read.
    """
    check_size(folder, facts)
    path = folder / facts.file
    with _reading(path):
        digest = hash_file(path)
    if digest != facts.sha256:
        raise DataCorruptError(f"{path} is damaged: its SHA-256 is not the one recorded at import", remedy=_REMEDY)


def check_size(folder: Path, facts: ShardFacts) -> None:
    """Compare the size of the file with what was written.

    Raises:
        DataMissingError, DataCorruptError, StorageError: as `verify_shard` does.
    """
    path = folder / facts.file
    with _reading(path):
        size = path.stat().st_size
    if size != facts.bytes:
        raise DataCorruptError(f"{path} has {size} bytes instead of {facts.bytes}", remedy=_REMEDY)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise DataMissingError(f"{path} is missing: the data set's {path.name} is gone", remedy=_REMEDY) from error
    except OSError as error:
        raise StorageError.from_os_error(error, doing="reading the data set", path=path) from error


def map_shard(folder: Path, facts: ShardFacts, columns: Columns) -> list[NDArray[Any]]:
    """Return the rows [N, ...] of each column of a verified shard, as read-only views of the file.

    The map lives as long as the views; no file descriptor stays open, so a data set may have any number of shards.

    Raises:
        DataCorruptError: if the schema or the number of rows is another than the data set's.
        DataMissingError: if it is not there.
        StorageError: if it cannot be read.
    """
    path = folder / facts.file
    with _reading(path), pa.memory_map(str(path)) as source:
        reader = pa.ipc.open_file(source)
        batch = reader.get_batch(0) if reader.num_record_batches == 1 else None
    if batch is None or batch.num_rows != facts.samples or not reader.schema.equals(shard_schema(columns)):
        found = f"{reader.schema.to_string(show_field_metadata=False)} in {reader.num_record_batches} batches"
        raise DataCorruptError(f"{path} does not hold what {facts.file} must hold: {found}", remedy=_REMEDY)
    return [
        _to_numpy(values).reshape(facts.samples, *column.shape)
        for values, column in zip(batch.columns, columns.stored, strict=True)
    ]


def _to_numpy(values: pa.Array) -> NDArray[Any]:
    flat = values.flatten() if pa.types.is_fixed_size_list(values.type) else values
    numbers: NDArray[Any] = flat.to_numpy(zero_copy_only=True)
    return numbers


class _HashingFile:
    """A file that knows the SHA-256 of what was written to it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.digest = hashlib.sha256()
        self.closed = False

    def write(self, data: Any) -> int:
        self.digest.update(data)
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self.closed = True
