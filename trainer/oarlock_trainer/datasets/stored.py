"""Reads a data set: any rows of a split in one call, gathered by numpy from memory-mapped shards.

A shard's checksum is verified when a row of it is first asked for, not all at the start: training begins at once, and no row
that was not verified is ever returned.
"""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oarlock_trainer.datasets.columns import Column, Columns
from oarlock_trainer.datasets.manifest import DatasetManifest, FileFacts, ShardFacts, read_manifest
from oarlock_trainer.datasets.shards import hash_file, map_shard, verify_shard
from oarlock_trainer.datasets.tokens import Tokenizer, read_words
from oarlock_trainer.errors import DataCorruptError, DataMissingError


class _Rows:
    """How the rows of one column are moved: as opaque values, which numpy moves by one memcpy; single numbers as they are."""

    def __init__(self, column: Column) -> None:
        self._shape, self._dtype = column.shape, np.dtype(column.dtype)
        self.opaque = bool(column.shape)
        # Indexes of classes are what torch asks of them, 64 bits wide.
        wide = np.dtype(np.int64) if self._dtype.kind in "iu" else self._dtype
        self._moved = np.dtype((np.void, column.row_bytes)) if self.opaque else wide

    def map(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return the stored rows [N, ...] of a shard in the form in which they are moved: [N]."""
        return values.view(np.uint8).reshape(-1).view(self._moved) if self.opaque else values

    def make_room(self, count: int) -> NDArray[Any]:
        """Return room for so many rows: [N]."""
        return np.empty(count, dtype=self._moved)

    def show(self, moved: NDArray[Any]) -> NDArray[Any]:
        """Return rows that were moved as what they are: [N, ...]."""
        return moved.view(self._dtype).reshape(len(moved), *self._shape) if self.opaque else moved


class StoredSplit:
    """The samples of one split, in their stored order. Safe to use from several threads."""

    def __init__(self, folder: Path, *, shards: list[ShardFacts], columns: Columns) -> None:
        self._folder, self._facts, self._columns = folder, shards, columns
        self._rows = [_Rows(column) for column in columns.stored]
        self._ends = np.cumsum([shard.samples for shard in shards], dtype=np.int64)
        self._mapped: list[list[NDArray[Any]] | None] = [None] * len(shards)
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def gather(self, indices: NDArray[np.integer[Any]]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return inputs [N, ...] and targets [N, ...] of the rows at `indices` [N], in their order, as new arrays.

        They have the types of their columns; classes are int64 [N]. Where the input is its own target, the targets are uint8
        [N, 0]: there is nothing beside the inputs.

        Raises:
            IndexError: if an index is negative or not below the length.
            DataMissingError, DataCorruptError, StorageError: if a shard that is touched first here is not as it was written.
        """
        rows = np.asarray(indices, dtype=np.int64)
        self._check_range(rows)
        found = [part.make_room(len(rows)) for part in self._rows]
        if len(self._facts) == 1:
            self._copy(0, rows, found)
        elif len(rows):
            self._scatter(rows, found)
        shown = [part.show(moved) for part, moved in zip(self._rows, found, strict=True)]
        return shown[0], shown[1] if len(shown) > 1 else np.empty((len(rows), 0), dtype=np.uint8)

    def targets(self, indices: NDArray[np.integer[Any]]) -> NDArray[Any]:
        """Return the targets [N, ...] alone of the rows at `indices` [N], without reading any input.

        Raises:
            IndexError, DataMissingError, DataCorruptError, StorageError: as `gather` does.
        """
        rows = np.asarray(indices, dtype=np.int64)
        self._check_range(rows)
        part = self._rows[1]
        found = part.make_room(len(rows))
        shards = np.searchsorted(self._ends, rows, side="right")
        for shard in np.unique(shards).tolist():
            places = np.flatnonzero(shards == shard)
            local = rows[places] - (int(self._ends[shard]) - self._facts[shard].samples)
            found[places] = self._shard(shard)[1][local]
        return part.show(found)

    def _check_range(self, rows: NDArray[np.int64]) -> None:
        if len(rows) and not 0 <= int(rows.min()) <= int(rows.max()) < len(self):
            raise IndexError(f"rows {int(rows.min())} to {int(rows.max())} asked of a split of {len(self)}")

    def _scatter(self, rows: NDArray[np.int64], found: list[NDArray[Any]]) -> None:
        """Copy shard by shard, each shard's rows at once, to where they belong."""
        shards = np.searchsorted(self._ends, rows, side="right")
        order = np.argsort(shards, kind="stable")
        touched, starts = np.unique(shards[order], return_index=True)
        for shard, places in zip(touched.tolist(), np.split(order, starts[1:]), strict=True):
            local = rows[places] - (int(self._ends[shard]) - self._facts[shard].samples)
            for mapped, room in zip(self._shard(shard), found, strict=True):
                room[places] = mapped[local]

    def _copy(self, shard: int, rows: NDArray[np.int64], found: list[NDArray[Any]]) -> None:
        for part, mapped, room in zip(self._rows, self._shard(shard), found, strict=True):
            if part.opaque:
                # The range was checked; with mode="raise" numpy would gather into a buffer first.
                np.take(mapped, rows, axis=0, out=room, mode="clip")
            else:
                room[:] = mapped[rows]

    def _shard(self, shard: int) -> list[NDArray[Any]]:
        mapped = self._mapped[shard]
        if mapped is not None:
            return mapped
        with self._lock:
            mapped = self._mapped[shard]
            if mapped is None:
                facts = self._facts[shard]
                verify_shard(self._folder, facts)
                columns = map_shard(self._folder, facts, self._columns)
                mapped = [part.map(values) for part, values in zip(self._rows, columns, strict=True)]
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
        return StoredSplit(self.folder, shards=shards, columns=self.manifest.columns)

    def mean_image(self) -> NDArray[np.float32]:
        """Return the mean [H, W, C] of the training split, from 0 to 255; zeros of the input's shape for texts.

        Raises:
            DataMissingError, DataCorruptError: if its file is gone or damaged.
        """
        if self.manifest.mean_image is None:
            return np.zeros(self.manifest.input.shape, dtype=np.float32)
        path = self._check_file(self.manifest.mean_image, what="mean image")
        image: NDArray[np.float32] = np.load(path, allow_pickle=False)
        return image

    def tokenizer(self) -> Tokenizer | None:
        """Return what turns a text into the numbers of the input; None if the inputs are no texts.

        Raises:
            DataMissingError, DataCorruptError: if the vocabulary is gone or damaged.
        """
        facts = self.manifest.vocabulary
        if facts is None:
            return None
        words: list[str] = []
        if facts.words is not None:
            words = read_words(self._check_file(facts.words, what="vocabulary"))
        return Tokenizer(tokens=facts.tokens, length=self.manifest.input.shape[0], words=words)

    def _check_file(self, facts: FileFacts, *, what: str) -> Path:
        path = self.folder / facts.file
        remedy = "delete the folder of this data set version and import the Dataset again"
        try:
            digest = hash_file(path)
        except FileNotFoundError as error:
            raise DataMissingError(f"{path} is missing: the data set's {what} is gone", remedy=remedy) from error
        if digest != facts.sha256:
            raise DataCorruptError(f"{path} is damaged: its SHA-256 is not the one recorded at import", remedy=remedy)
        return path

    def verify(self, *, beat: Callable[[], None] = lambda: None) -> None:
        """Read everything and compare it with what was written, calling `beat` before each file.

        Raises:
            DataMissingError, DataCorruptError, StorageError: at the first file that is not as it was written.
        """
        self.mean_image()
        self.tokenizer()
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
