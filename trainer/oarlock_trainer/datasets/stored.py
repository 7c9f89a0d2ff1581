"""Reads a data set: any rows of a split in one call, gathered by numpy from memory-mapped shards.

A shard's checksum is verified when a row of it is first asked for, not all at the start: training begins at once, and no row
that was not verified is ever returned.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oarlock_trainer.datasets.columns import Columns
from oarlock_trainer.datasets.manifest import DatasetManifest, FileFacts, ShardFacts, read_manifest
from oarlock_trainer.datasets.mapped import MappedShard, Mover
from oarlock_trainer.datasets.readers import Readers
from oarlock_trainer.datasets.shards import hash_file, verify_shard
from oarlock_trainer.datasets.tokens import Tokenizer, read_words
from oarlock_trainer.errors import DataCorruptError, DataMissingError

_MOST_ANNOUNCED_BYTES = 256 * 2**20
"""What is announced waits in memory until it is copied, and a whole split may be asked for at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Piece:
    """Rows of one shard."""

    shard: int
    places: NDArray[np.intp]
    """Where they belong among what was asked for, in ascending order."""
    rows: NDArray[np.int64]
    """Where they are in the shard."""

    @property
    def together(self) -> slice | None:
        """The places, if there are no others between them."""
        first, last = int(self.places[0]), int(self.places[-1])
        return slice(first, last + 1) if last - first + 1 == len(self.places) else None


class StoredSplit:
    """The samples of one split, in their stored order. Safe to use from several threads."""

    def __init__(self, folder: Path, *, shards: list[ShardFacts], columns: Columns) -> None:
        self._folder, self._facts, self._columns = folder, shards, columns
        self._movers = [Mover(column) for column in columns.stored]
        self._ends = np.cumsum([shard.samples for shard in shards], dtype=np.int64)
        self._begins = self._ends - [shard.samples for shard in shards]
        self._mapped: list[MappedShard | None] = [None] * len(shards)
        self._locks = [threading.Lock() for _ in shards]
        self._is_on_disk = False
        """Whether the last rows were not in memory, so that the next may be announced at once: of no consequence for what is read."""

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def gather(
        self, indices: NDArray[np.integer[Any]], *, readers: Readers | None = None
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return inputs [N, ...] and targets [N, ...] of the rows at `indices` [N], in their order, as new arrays.

        They have the types of their columns; classes are int64 [N]. Where the input is its own target, the targets are uint8
        [N, 0]: there is nothing beside the inputs. With `readers`, each of them reads a share of the rows.

        Raises:
            IndexError: if an index is negative or not below the length.
            DataMissingError, DataCorruptError, StorageError: if a shard is not as it was written, or cannot be read.
            ReaderError: if a reader ended without an answer.
        """
        rows = np.asarray(indices, dtype=np.int64)
        self._check_range(rows)
        found = [mover.make_room(len(rows)) for mover in self._movers]
        if len(rows):
            self._fill(rows, found, readers)
        shown = [mover.show(moved) for mover, moved in zip(self._movers, found, strict=True)]
        return shown[0], shown[1] if len(shown) > 1 else np.empty((len(rows), 0), dtype=np.uint8)

    def targets(self, indices: NDArray[np.integer[Any]]) -> NDArray[Any]:
        """Return the targets [N, ...] alone of the rows at `indices` [N], without reading any input.

        Raises:
            IndexError, DataMissingError, DataCorruptError, StorageError: as `gather` does.
        """
        rows = np.asarray(indices, dtype=np.int64)
        self._check_range(rows)
        mover = self._movers[1]
        found = mover.make_room(len(rows))
        for piece in self._divide(rows, np.arange(len(rows))):
            found[piece.places] = self._shard(piece.shard).columns[1][piece.rows]
        return mover.show(found)

    def _check_range(self, rows: NDArray[np.int64]) -> None:
        if len(rows) and not 0 <= int(rows.min()) <= int(rows.max()) < len(self):
            raise IndexError(f"rows {int(rows.min())} to {int(rows.max())} asked of a split of {len(self)}")

    def _fill(self, rows: NDArray[np.int64], found: list[NDArray[Any]], readers: Readers | None) -> None:
        places = np.arange(len(rows))
        if len(self._facts) > 1 and readers is not None:
            # In the order of the shards, so that few readers share one.
            places = np.argsort(np.searchsorted(self._ends, rows, side="right"), kind="stable")
        if readers is None:
            self._read(rows, places, found)
            return
        shares = [share for share in np.array_split(places, readers.count) if len(share)]
        acts = [partial(self._read, rows, share, found) for share in shares]
        readers.run(acts, what=f"{len(rows)} rows of {self._folder}")

    def _read(self, rows: NDArray[np.int64], places: NDArray[np.intp], found: list[NDArray[Any]]) -> None:
        """Copy the rows that belong at `places` there, shard by shard."""
        pieces = self._divide(rows, places)
        may_announce = len(rows) * self._columns.row_bytes <= _MOST_ANNOUNCED_BYTES
        announced = self._is_on_disk and may_announce and self._announce(pieces)
        waited = False
        for number, piece in enumerate(pieces):
            mapped = self._shard(piece.shard)
            waited |= mapped.await_pages(piece.rows, announced=announced)
            if waited and may_announce and not announced:
                announced = self._announce(pieces[number + 1 :])
            self._copy(piece, mapped, found)
        self._is_on_disk = waited

    def _copy(self, piece: _Piece, mapped: MappedShard, found: list[NDArray[Any]]) -> None:
        if (together := piece.together) is not None:
            mapped.copy(piece.rows, [room[together] for room in found])
            return
        copies = [mover.make_room(len(piece.rows)) for mover in self._movers]
        mapped.copy(piece.rows, copies)
        for room, copied in zip(found, copies, strict=True):
            room[piece.places] = copied

    def _announce(self, pieces: list[_Piece]) -> bool:
        for piece in pieces:
            # A shard that is not mapped yet is read as a whole, for its checksum.
            if (mapped := self._mapped[piece.shard]) is not None:
                mapped.announce(piece.rows)
        return True

    def _divide(self, rows: NDArray[np.int64], places: NDArray[np.intp]) -> list[_Piece]:
        """Divide the rows at `places`, which ascend within each shard, by shard."""
        if not len(places):
            return []
        if len(self._facts) == 1:
            return [_Piece(shard=0, places=places, rows=rows[places])]
        shards = np.searchsorted(self._ends, rows[places], side="right")
        order = np.argsort(shards, kind="stable")
        touched, starts = np.unique(shards[order], return_index=True)
        parts = np.split(places[order], starts[1:])
        return [
            _Piece(shard=shard, places=part, rows=rows[part] - self._begins[shard])
            for shard, part in zip(touched.tolist(), parts, strict=True)
        ]

    def _shard(self, shard: int) -> MappedShard:
        mapped = self._mapped[shard]
        if mapped is not None:
            return mapped
        with self._locks[shard]:
            mapped = self._mapped[shard]
            if mapped is None:
                facts = self._facts[shard]
                verify_shard(self._folder, facts)
                mapped = MappedShard(self._folder, facts, self._columns, self._movers)
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
