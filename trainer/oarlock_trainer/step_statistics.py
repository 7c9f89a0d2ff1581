"""The figures of each step, kept on the device until there are enough of them to be worth a transfer.

Reading a loss on the host after every step would make the host wait for the GPU at every step. Here a step leaves its row on
the device, and a snapshot joins the rows since the last one and copies them to pinned memory while the device computes on.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    """The rows of some consecutive steps, on their way to the host."""

    first_step: int
    """The step of the first row, counted from 1: how many steps were done after it."""
    rows: Tensor
    weights: NDArray[np.float64]
    arrived: torch.cuda.Event | None

    def read(self) -> NDArray[np.float64]:
        """Return the rows [steps, columns], waiting for the device if it has not come so far."""
        if self.arrived is not None:
            self.arrived.synchronize()
        return self.rows.numpy().astype(np.float64)


class StepStatistics:
    """Rows of sums over this rank's samples, and the weight of each step's global batch."""

    def __init__(self, *, columns: int) -> None:
        self.columns = columns
        self._rows: list[Tensor] = []
        self._weights: list[float] = []
        self._first_step = 0

    def __len__(self) -> int:
        return len(self._rows)

    def push(self, step: int, row: Tensor, *, weight: float) -> None:
        """Keep the row [columns] of `step`, where it is; nothing may write to it any more."""
        if not self._rows:
            self._first_step = step
        self._rows.append(row)
        self._weights.append(weight)

    def take(self) -> Snapshot | None:
        """Start to copy the rows since the last snapshot to the host; None if there are none."""
        if not self._rows:
            return None
        on_device = torch.stack(self._rows)
        rows, arrived = on_device, None
        if on_device.device.type == "cuda":
            rows = torch.empty(on_device.shape, dtype=on_device.dtype, pin_memory=True)
            rows.copy_(on_device, non_blocking=True)
            arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]
            arrived.record()
        weights = np.array(self._weights, dtype=np.float64)
        self._rows, self._weights = [], []
        return Snapshot(first_step=self._first_step, rows=rows, weights=weights, arrived=arrived)
