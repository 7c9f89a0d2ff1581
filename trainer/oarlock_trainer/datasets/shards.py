"""One Arrow IPC file of images and labels: written in one go, read through a memory map without copying.

The file holds a single uncompressed record batch, so that its pixels are one contiguous array. A file is opened only after its
checksum was verified: Arrow's reader trusts the offsets that it finds.
"""

import hashlib
import json
import math
import os
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from oarlock_trainer.datasets.manifest import ShardFacts
from oarlock_trainer.errors import DataCorruptError, DataMissingError, StorageError

SHARD_BYTES = 16 * 2**20
"""Pixels per file at most: many enough files for all cores and for resuming, large enough to be read in sequence."""

_REMEDY = "delete the folder of this data set version and import the Dataset again"


def shard_schema(sample_shape: tuple[int, int, int]) -> pa.Schema:
    """Return the schema of every shard of a data set whose samples are (height, width, channels)."""
    pixels = pa.list_(pa.uint8(), math.prod(sample_shape))
    shape = {"shape": json.dumps(list(sample_shape))}
    return pa.schema([pa.field("image", pixels, metadata=shape), pa.field("label", pa.int32())])


def write_shard(path: Path, images: NDArray[np.uint8], labels: NDArray[np.int32]) -> ShardFacts:
    """Write images [N, H, W, C] and labels [N] as a new file that is on the disk when this returns.

    Raises:
        OSError: if it cannot be written; what was written so far stays.
    """
    images, labels = np.ascontiguousarray(images), np.ascontiguousarray(labels, dtype=np.int32)
    height, width, channels = images.shape[1:]
    schema = shard_schema((height, width, channels))
    pixels = pa.FixedSizeListArray.from_arrays(pa.array(images.reshape(-1)), type=schema.field("image").type)
    batch = pa.record_batch([pixels, pa.array(labels)], schema=schema)
    with path.open("wb") as file:
        hashing = _HashingFile(file)
        with pa.ipc.new_file(pa.PythonFile(hashing, mode="w"), schema) as writer:
            writer.write_batch(batch)
        file.flush()
        os.fsync(file.fileno())
    return ShardFacts(
        file=path.name,
        samples=len(images),
        bytes=path.stat().st_size,
        sha256=hashing.digest.hexdigest(),
        content=hash_content(images, labels),
    )


def hash_content(images: NDArray[np.uint8], labels: NDArray[np.int32]) -> str:
    """Return the SHA-256 of labels and pixels, in row order, whatever file they are in."""
    digest = hashlib.sha256(labels.astype("<i4", copy=False).tobytes())
    digest.update(np.ascontiguousarray(images).data)
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
    path = folder / facts.file
    try:
        size = path.stat().st_size
        digest = hash_file(path) if size == facts.bytes else ""
    except FileNotFoundError as error:
        raise DataMissingError(f"{path} is missing: the data set's {facts.file} is gone", remedy=_REMEDY) from error
    except OSError as error:
        raise StorageError.from_os_error(error, doing="reading the data set", path=path) from error
    if size != facts.bytes:
        raise DataCorruptError(f"{path} has {size} bytes instead of {facts.bytes}", remedy=_REMEDY)
    if digest != facts.sha256:
        raise DataCorruptError(f"{path} is damaged: its SHA-256 is not the one recorded at import", remedy=_REMEDY)


def map_shard(
    folder: Path, facts: ShardFacts, sample_shape: tuple[int, int, int]
) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """Return images [N, H, W, C] and labels [N] of a verified shard, as read-only views of the file.

    The map lives as long as the views; no file descriptor stays open, so a data set may have any number of shards.

    Raises:
        DataCorruptError: if the schema or the number of rows is another than the data set's.
    """
    path = folder / facts.file
    with pa.memory_map(str(path)) as source:
        reader = pa.ipc.open_file(source)
        batch = reader.get_batch(0) if reader.num_record_batches == 1 else None
    if batch is None or batch.num_rows != facts.samples or not reader.schema.equals(shard_schema(sample_shape)):
        found = f"{reader.schema.to_string(show_field_metadata=False)} in {reader.num_record_batches} batches"
        raise DataCorruptError(f"{path} does not hold what {facts.file} must hold: {found}", remedy=_REMEDY)
    pixels = batch.column("image").flatten().to_numpy(zero_copy_only=True)
    return pixels.reshape(facts.samples, *sample_shape), batch.column("label").to_numpy(zero_copy_only=True)


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
