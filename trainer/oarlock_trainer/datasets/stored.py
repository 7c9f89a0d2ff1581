"""Reads a data set: any rows of a split in one call, gathered by numpy from memory-mapped shards.

A shard's checksum is verified when a row of it is first asked for, not all at the start: training begins at once, and no row
that was not verified is ever returned.
"""

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oarlock_trainer.datasets.manifest import DatasetManifest, ShardFacts, read_manifest
from oarlock_trainer.datasets.shards import hash_file, map_shard, verify_shard
from oarlock_trainer.errors import DataCorruptError, DataMissingError


@dataclass(frozen=True, kw_only=True, slots=True)
class _MappedShard:
    rows: NDArray[np.void]
    """[N]: an image is one opaque value here, so that numpy moves it by one memcpy."""
    labels: NDArray[np.int32]


class StoredSplit:
    """The samples of one split, in their stored order. Safe to use from several threads."""

    def __init__(self, folder: Path, *, shards: list[ShardFacts], sample_shape: tuple[int, int, int]) -> None:
        self._folder, self._facts, self._sample_shape = folder, shards, sample_shape
        self._row = np.dtype((np.void, math.prod(sample_shape)))
        self._ends = np.cumsum([shard.samples for shard in shards], dtype=np.int64)
        self._mapped: list[_MappedShard | None] = [None] * len(shards)
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def gather(self, indices: NDArray[np.integer[Any]]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Return images [N, H, W, C] and labels [N] of the rows at `indices` [N], in their order, as new arrays.

        Raises:
            IndexError: if an index is negative or not below the length.
            DataMissingError, DataCorruptError, StorageError: if a shard that is touched first here is not as it was written.
        """
        rows = np.asarray(indices, dtype=np.int64)
        self._check_range(rows)
        images = np.empty(len(rows), dtype=self._row)
        labels = np.empty(len(rows), dtype=np.int64)
        if len(self._facts) == 1:
            self._copy(0, rows, images, labels)
        elif len(rows):
            self._scatter(rows, images, labels)
        return images.view(np.uint8).reshape(len(rows), *self._sample_shape), labels

    def _check_range(self, rows: NDArray[np.int64]) -> None:
        if len(rows) and not 0 <= int(rows.min()) <= int(rows.max()) < len(self):
            raise IndexError(f"rows {int(rows.min())} to {int(rows.max())} asked of a split of {len(self)}")

    def _scatter(self, rows: NDArray[np.int64], images: NDArray[np.void], labels: NDArray[np.int64]) -> None:
        """Copy shard by shard, each shard's rows at once, to where they belong."""
        shards = np.searchsorted(self._ends, rows, side="right")
        order = np.argsort(shards, kind="stable")
        touched, starts = np.unique(shards[order], return_index=True)
        for shard, targets in zip(touched.tolist(), np.split(order, starts[1:]), strict=True):
            first = int(self._ends[shard]) - self._facts[shard].samples
            mapped = self._shard(shard)
            local = rows[targets] - first
            images[targets] = mapped.rows[local]
            labels[targets] = mapped.labels[local]

    def _copy(self, shard: int, rows: NDArray[np.int64], images: NDArray[np.void], labels: NDArray[np.int64]) -> None:
        mapped = self._shard(shard)
        # The range was checked; with mode="raise" numpy would gather into a buffer first.
        np.take(mapped.rows, rows, axis=0, out=images, mode="clip")
        labels[:] = mapped.labels[rows]

    def _shard(self, shard: int) -> _MappedShard:
        mapped = self._mapped[shard]
        if mapped is not None:
            return mapped
        with self._lock:
            mapped = self._mapped[shard]
            if mapped is None:
                facts = self._facts[shard]
                verify_shard(self._folder, facts)
                pixels, labels = map_shard(self._folder, facts, self._sample_shape)
                mapped = _MappedShard(rows=pixels.reshape(-1).view(self._row), labels=labels)
                self._mapped[shard] = mapped
        return mapped


class StoredDataset:
    """A data set in a folder."""

    def __init__(self, folder: Path, manifest: DatasetManifest) -> None:
        self.folder = folder
        self.manifest = manifest

    def split(self, name: str) -> StoredSplit:
        """Return the split called `train`, `validation` or `test`; one that the data set lacks is empty."""
        shards = self.manifest.shards.get(name, [])
        return StoredSplit(self.folder, shards=shards, sample_shape=self.manifest.sample_shape)

    def mean_image(self) -> NDArray[np.float32]:
        """Return the mean [H, W, C] of the training split, from 0 to 255.

        Raises:
            DataMissingError, DataCorruptError: if its file is gone or damaged.
        """
        facts = self.manifest.mean_image
        path = self.folder / facts.file
        remedy = "delete the folder of this data set version and import the Dataset again"
        try:
            digest = hash_file(path)
        except FileNotFoundError as error:
            raise DataMissingError(f"{path} is missing: the data set's mean image is gone", remedy=remedy) from error
        if digest != facts.sha256:
            raise DataCorruptError(f"{path} is damaged: its SHA-256 is not the one recorded at import", remedy=remedy)
        image: NDArray[np.float32] = np.load(path, allow_pickle=False)
        return image

    def verify(self, *, beat: Callable[[], None] = lambda: None) -> None:
        """Read everything and compare it with what was written, calling `beat` before each file.

        Raises:
            DataMissingError, DataCorruptError, StorageError: at the first file that is not as it was written.
        """
        self.mean_image()
        for shards in self.manifest.shards.values():
            for shard in shards:
                beat()
                verify_shard(self.folder, shard)


def open_dataset(folder: Path) -> StoredDataset:
    """Open the data set in `folder`, reading only its description.

    Raises:
        DataMissingError: if there is none.
        DataCorruptError: if its description is damaged or of a newer format.
        StorageError: if it cannot be read.
    """
    return StoredDataset(folder, read_manifest(folder))
