"""The samples of each step, on the device: a pure function of the step, whoever asks and however often.

Samples stay uint8 until they are on the device. A split that fits is kept there whole; otherwise rows are gathered from the
memory-mapped shards, by a thread that works ahead when a batch is large enough for that to pay, or when it has readers. However
many those are, three batches are in memory at most: the one that is trained on, and two to come.
"""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from oarlock_trainer.datasets import Readers, StoredSplit
from oarlock_trainer.order import Order
from oarlock_trainer.tasks import Batch, Rows, Task

if TYPE_CHECKING:
    from concurrent.futures import Future

RESIDENT_SHARE_OF_FREE_MEMORY = 0.25
"""A split that takes less of a GPU's free memory is kept there."""
_AHEAD = 2
_WORTH_A_THREAD = 1 << 20
_CHUNK_ROWS = 8192


class Samples(Protocol):
    """One split, from which rows are taken onto the device."""

    def __len__(self) -> int: ...

    def take(self, ids: NDArray[np.int64]) -> Rows:
        """Return the rows `ids`, on the device."""
        ...


class StreamedSamples:
    """Rows gathered on the host whenever they are asked for."""

    def __init__(self, split: StoredSplit, device: torch.device, *, readers: Readers | None = None) -> None:
        self._split, self._device, self._readers = split, device, readers

    def __len__(self) -> int:
        return len(self._split)

    def take(self, ids: NDArray[np.int64]) -> Rows:
        samples, targets = self._split.gather(ids, readers=self._readers)
        return Rows(samples=place(samples, self._device), targets=place(targets, self._device))


class ResidentSamples:
    """A whole split in the device's memory."""

    def __init__(
        self,
        split: StoredSplit,
        device: torch.device,
        *,
        on_beat: Callable[[], None],
        readers: Readers | None = None,
    ) -> None:
        samples, targets = [], []
        for start in range(0, len(split), _CHUNK_ROWS):
            chunk = split.gather(np.arange(start, min(start + _CHUNK_ROWS, len(split))), readers=readers)
            samples.append(_to_tensor(chunk[0]).to(device))
            targets.append(_to_tensor(chunk[1]).to(device))
            on_beat()
        self._samples, self._targets, self._device = torch.cat(samples), torch.cat(targets), device

    def __len__(self) -> int:
        return len(self._targets)

    def take(self, ids: NDArray[np.int64]) -> Rows:
        rows = place(ids, self._device)
        return Rows(samples=self._samples.index_select(0, rows), targets=self._targets.index_select(0, rows))


def open_samples(
    split: StoredSplit,
    device: torch.device,
    *,
    row_bytes: int,
    free: int,
    on_beat: Callable[[], None],
    readers: Readers | None = None,
) -> Samples:
    """Return the samples of a split, kept on the device if they take little of its `free` bytes."""
    if 0 < len(split) * row_bytes < free * RESIDENT_SHARE_OF_FREE_MEMORY:
        return ResidentSamples(split, device, on_beat=on_beat, readers=readers)
    return StreamedSamples(split, device, readers=readers)


def count_parts(batch_size: int, processes: int, *, rows: int, least: int = 1) -> int:
    """Return the micro-batches of a step, the same on all ranks, if a process holds at most `rows` rows at once.

    None has fewer than `least` rows on any rank, unless a whole share has: one sample at once, and shares that differ, make two
    samples once.
    """
    smallest_share, largest_share = batch_size // processes, -(-batch_size // processes)
    return max(1, min(smallest_share // least, -(-largest_share // rows)))


def list_row_counts(batch_size: int, processes: int, *, limit: int, least: int) -> list[int]:
    """Return how many rows a process may hold at once, ascending: what equal parts of its share come to, up to `limit` rows.

    No part has fewer than `least` rows, even if all are larger than `limit` then. To ask `count_parts` for one of these counts
    gives parts of which the largest has just as many.
    """
    largest_share = -(-batch_size // processes)
    parts = {count_parts(batch_size, processes, rows=rows, least=least) for rows in range(1, limit + 1)}
    return sorted({-(-largest_share // number) for number in parts})


class Batches:
    """This rank's training batches, by step."""

    def __init__(
        self,
        samples: Samples,
        *,
        task: Task,
        order: Order,
        share: slice,
        row_bytes: int,
        device: torch.device,
        has_readers: bool = False,
    ) -> None:
        self._samples, self._task, self._order, self._share = samples, task, order, share
        self.resident = isinstance(samples, ResidentSamples)
        """Whether the samples are on the device already."""
        large = (share.stop - share.start) * row_bytes >= _WORTH_A_THREAD
        works_ahead = (large or has_readers) and not self.resident
        self._ahead = Readers(1, name="batches", on_start=partial(_adopt_device, device)) if works_ahead else None
        self._coming: dict[int, Future[Batch]] = {}

    def at(self, step: int) -> Batch:
        """Return the batch of `step`, counted from 0; steps are asked for in order.

        Raises:
            DataMissingError, DataCorruptError, StorageError: if its rows cannot be read.
            ReaderError: if the thread that reads ahead has ended.
        """
        if self._ahead is None:
            return self.read(step)
        for later in range(step, step + _AHEAD + 1):
            if later not in self._coming:
                act = partial(self.read, later)
                self._coming[later] = self._ahead.submit(act, what=f"the batch of step {later + 1}")
        return self._ahead.result(self._coming.pop(step))

    def close(self) -> None:
        """Stop working ahead."""
        if self._ahead is not None:
            self._ahead.close()

    def read(self, step: int) -> Batch:
        """Return the batch of any step, in this thread."""
        ids = self._order.ids_of_step(step)
        partners = self._task.pair(ids, step)
        rows = self._samples.take(ids[self._share])
        return Batch(
            rows=rows,
            partners=None if partners is None else self._samples.take(partners[self._share]),
            draws=place(self._task.draw(step)[self._share], rows.samples.device),
            weight=self._task.weigh(ids, step),
        )


def read_validation(samples: Samples, ids: NDArray[np.int64], *, task: Task) -> Batch:
    """Return rows of a split as they are validated: nothing random, and partners that depend on the rows alone."""
    partners = task.pair(ids, None)
    return Batch(rows=samples.take(ids), partners=None if partners is None else samples.take(partners))


def _adopt_device(device: torch.device) -> None:
    """Make the device this thread's own, since pinned memory is taken in the context of the current one."""
    if device.type == "cuda":
        torch.cuda.set_device(device)


def place(values: NDArray[Any], device: torch.device) -> Tensor:
    """Move an array to the device; to a GPU through pinned memory, so that the host does not wait."""
    tensor = _to_tensor(values)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor


def _to_tensor(values: NDArray[Any]) -> Tensor:
    """Return the array as a tensor; torch has few operations on uint16, so these come as int16 with the same bits."""
    return torch.from_numpy(values.view(np.int16) if values.dtype == np.uint16 else values)
