"""The samples of each step, on the device: a pure function of the step, whoever asks and however often.

Samples stay uint8 until they are on the device. A split that fits is kept there whole; otherwise rows are gathered from the
memory-mapped shards, by a thread that works ahead when a batch is large enough for that to pay.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from oarlock_trainer.datasets import StoredSplit
from oarlock_trainer.order import Order
from oarlock_trainer.tasks import Task

RESIDENT_SHARE_OF_FREE_MEMORY = 0.25
"""A split that takes less of a GPU's free memory is kept there."""
_AHEAD = 2
_WORTH_A_THREAD = 1 << 20
_CHUNK_ROWS = 8192


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """This rank's rows of one step, on the device."""

    samples: Tensor
    """uint8 [N, ...]."""
    targets: Tensor
    """[N, ...]."""
    draws: Tensor
    """int64 [N, any]: what random changes the samples undergo."""
    weight: float
    """Weight in the loss of the whole global batch, not of these rows alone."""

    def split(self, rows: int) -> "Iterator[tuple[Batch, bool]]":
        """Yield micro-batches of at most `rows` rows, and whether each is the last."""
        count = len(self.targets)
        if count <= rows:
            yield self, True
            return
        for start in range(0, count, rows):
            part = slice(start, start + rows)
            samples, targets, draws = self.samples[part], self.targets[part], self.draws[part]
            yield Batch(samples=samples, targets=targets, draws=draws, weight=self.weight), start + rows >= count


class Samples(Protocol):
    """One split, from which rows are taken onto the device."""

    def __len__(self) -> int: ...

    def take(self, ids: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Return samples and targets of the rows `ids`, on the device."""
        ...


class StreamedSamples:
    """Rows gathered on the host whenever they are asked for."""

    def __init__(self, split: StoredSplit, device: torch.device) -> None:
        self._split, self._device = split, device

    def __len__(self) -> int:
        return len(self._split)

    def take(self, ids: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        samples, targets = self._split.gather(ids)
        return _place(samples, self._device), _place(targets, self._device)


class ResidentSamples:
    """A whole split in the device's memory."""

    def __init__(self, split: StoredSplit, device: torch.device, *, on_beat: Callable[[], None]) -> None:
        samples, targets = [], []
        for start in range(0, len(split), _CHUNK_ROWS):
            chunk = split.gather(np.arange(start, min(start + _CHUNK_ROWS, len(split))))
            samples.append(torch.from_numpy(chunk[0]).to(device))
            targets.append(torch.from_numpy(chunk[1]).to(device))
            on_beat()
        self._samples, self._targets, self._device = torch.cat(samples), torch.cat(targets), device

    def __len__(self) -> int:
        return len(self._targets)

    def take(self, ids: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        rows = _place(ids, self._device)
        return self._samples.index_select(0, rows), self._targets.index_select(0, rows)


def open_samples(
    split: StoredSplit, device: torch.device, *, row_bytes: int, free: int, on_beat: Callable[[], None]
) -> Samples:
    """Return the samples of a split, kept on the device if they take little of its `free` bytes."""
    if 0 < len(split) * row_bytes < free * RESIDENT_SHARE_OF_FREE_MEMORY:
        return ResidentSamples(split, device, on_beat=on_beat)
    return StreamedSamples(split, device)


class Batches:
    """This rank's training batches, by step."""

    def __init__(
        self, samples: Samples, *, task: Task, order: Order, share: slice, row_bytes: int, device: torch.device
    ) -> None:
        self._samples, self._task, self._order, self._share = samples, task, order, share
        self.resident = isinstance(samples, ResidentSamples)
        """Whether the samples are on the device already."""
        large = (share.stop - share.start) * row_bytes >= _WORTH_A_THREAD
        works_ahead = large and not self.resident
        self._reader = ThreadPoolExecutor(1, "batches", _adopt_device, (device,)) if works_ahead else None
        self._coming: dict[int, Future[Batch]] = {}

    def at(self, step: int) -> Batch:
        """Return the batch of `step`, counted from 0; steps are asked for in order."""
        if self._reader is None:
            return self.read(step)
        for later in range(step, step + _AHEAD + 1):
            if later not in self._coming:
                self._coming[later] = self._reader.submit(self.read, later)
        return self._coming.pop(step).result()

    def close(self) -> None:
        """Stop working ahead."""
        if self._reader is not None:
            self._reader.shutdown(wait=True, cancel_futures=True)

    def read(self, step: int) -> Batch:
        """Return the batch of any step, in this thread."""
        ids = self._order.ids_of_step(step)
        samples, targets = self._samples.take(ids[self._share])
        draws = self._task.draw(step)[self._share]
        return Batch(
            samples=samples, targets=targets, draws=_place(draws, samples.device), weight=self._task.weigh(ids)
        )


def _adopt_device(device: torch.device) -> None:
    """Make the device this thread's own, since pinned memory is taken in the context of the current one."""
    if device.type == "cuda":
        torch.cuda.set_device(device)


def _place(values: NDArray[np.uint8] | NDArray[np.int64], device: torch.device) -> Tensor:
    """Move an array to the device; to a GPU through pinned memory, so that the host does not wait."""
    tensor = torch.from_numpy(values)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor
