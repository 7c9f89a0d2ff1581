"""One shard in memory: its rows are announced to the kernel, awaited and copied.

A page that cannot be read ends the process that touches it, with SIGBUS and without a word. So large rows are awaited by a call
that reports it instead. Whatever copies rows must let other Python threads run while it waits for the disk: numpy's `take` does,
indexing by an array does not.
"""

import ctypes
import errno
import mmap
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oarlock_trainer.datasets.columns import Column, Columns
from oarlock_trainer.datasets.manifest import ShardFacts
from oarlock_trainer.datasets.shards import check_size, map_shard
from oarlock_trainer.errors import StorageError

LARGE_ROW_BYTES = 16 * 1024
"""Rows of this size are worth calls of the kernel of their own; below, copying takes less time than the calls."""
_WAITED_SECONDS = 2.5e-4
"""What is in memory already is there sooner, and announcing it would cost a quarter of the time that copying it takes."""
_WILL_NEED = 3
_POPULATE_READ = 22
"""Since Linux 5.14; a kernel that does not know it refuses: then all is announced, and a lost page is SIGBUS as ever."""
_LOST = frozenset({errno.EFAULT, errno.EIO, 133})
"""EHWPOISON, which is 133, has no name in Python."""
_advise: Callable[[int, int, int], int] = ctypes.CDLL(None, use_errno=True).madvise
_advise.argtypes = (ctypes.c_size_t, ctypes.c_size_t, ctypes.c_int)  # type: ignore[attr-defined]


class Mover:
    """How the rows of one column are moved: as opaque values, which numpy moves by one memcpy; single numbers as they are."""

    def __init__(self, column: Column) -> None:
        self._shape, self._dtype = column.shape, np.dtype(column.dtype)
        self.opaque = bool(column.shape)
        self.row_bytes = column.row_bytes
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

    def copy(self, mapped: NDArray[Any], rows: NDArray[np.int64], room: NDArray[Any]) -> None:
        """Copy `rows` [N], which are in range, into `room` [N]."""
        if self.opaque:
            # With mode="raise" numpy would gather into a buffer first.
            np.take(mapped, rows, axis=0, out=room, mode="clip")
        else:
            room[:] = np.take(mapped, rows, mode="clip")


class MappedShard:
    """The columns of a verified shard, each in the form in which its rows are moved."""

    def __init__(self, folder: Path, facts: ShardFacts, columns: Columns, movers: list[Mover]) -> None:
        """Map it.

        Raises:
            DataCorruptError: if the schema or the number of rows is another than the data set's.
            StorageError: if it cannot be read.
        """
        self._folder, self._facts, self._movers = folder, facts, movers
        mapped = map_shard(folder, facts, columns)
        self.columns = [mover.map(values) for mover, values in zip(movers, mapped, strict=True)]
        self._large = [
            (values.ctypes.data, mover.row_bytes)
            for mover, values in zip(movers, self.columns, strict=True)
            if mover.opaque and mover.row_bytes >= LARGE_ROW_BYTES
        ]

    def announce(self, rows: NDArray[np.int64]) -> None:
        """Have the kernel read large rows from the disk all at once, and return without waiting for them."""
        for start, length in self._list_large(rows):
            _advise(start, length, _WILL_NEED)

    def await_pages(self, rows: NDArray[np.int64], *, announced: bool) -> bool:
        """Wait until large rows are in memory; return whether they were not. The rest of them is announced then.

        Raises:
            DataCorruptError, DataMissingError: if the file is no longer as it was written.
            StorageError: if it cannot be read.
        """
        pages, waited = self._list_large(rows), False
        for number, (start, length) in enumerate(pages):
            began = time.perf_counter()
            trouble = ctypes.get_errno() if _advise(start, length, _POPULATE_READ) else 0
            if trouble in _LOST:
                self._explain_lost_page()
            if not waited and (trouble or time.perf_counter() - began > _WAITED_SECONDS):
                waited = True
                for later in () if announced else pages[number + 1 :]:
                    _advise(*later, _WILL_NEED)
        return waited

    def copy(self, rows: NDArray[np.int64], rooms: list[NDArray[Any]]) -> None:
        """Copy `rows` [N], which are in range, of each column into its room [N]."""
        for mover, mapped, room in zip(self._movers, self.columns, rooms, strict=True):
            mover.copy(mapped, rows, room)

    def _list_large(self, rows: NDArray[np.int64]) -> list[tuple[int, int]]:
        """Return where the pages of large rows begin, and their lengths in bytes."""
        pages: list[tuple[int, int]] = []
        for address, row_bytes in self._large:
            for row in rows.tolist():
                begin = address + row * row_bytes
                start = begin - begin % mmap.PAGESIZE
                pages.append((start, begin + row_bytes - start))
        return pages

    def _explain_lost_page(self) -> None:
        check_size(self._folder, self._facts)
        lost = OSError(errno.EIO, os.strerror(errno.EIO))
        raise StorageError.from_os_error(lost, doing="reading the data set", path=self._folder / self._facts.file)
