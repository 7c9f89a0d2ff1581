"""Turns: one contender trains while all others wait. This is the side of the processes that train.

A contender takes its first stretch of steps when it is started, to warm up, and every further one when it is told to. It is
told by a line on one pipe, and answers on another with what its clocks say; what it prints goes elsewhere.
"""

import json
import os
import time
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    import torch

GO_ENV, DONE_ENV = "BENCH_GO", "BENCH_DONE"
"""Numbers of the two pipes."""
GO, END = b"g", b"e"


class Turns:
    """Counts the steps of one process, and stops it after each stretch until it is its turn again."""

    def __init__(self, *, stretch: int, device: "torch.device") -> None:
        self._stretch, self._device = stretch, device
        self._go, self._done = int(os.environ[GO_ENV]), int(os.environ[DONE_ENV])
        self._steps = 0
        # The first stretch is not measured, and a look at the clock would take the GPU before the contender has set it up.
        self._since = (0.0, 0.0)

    def count_step(self) -> None:
        """Note that a step is done; where the stretch ends, wait for the next one, or end the process."""
        self._steps += 1
        if self._steps % self._stretch:
            return
        wall, processor = (now - before for now, before in zip(self._read_clocks(), self._since, strict=True))
        os.write(self._done, (json.dumps([wall / self._stretch, processor / self._stretch]) + "\n").encode())
        if os.read(self._go, 1) != GO:
            self._end()
        self._since = self._read_clocks()

    def _read_clocks(self) -> tuple[float, float]:
        if self._device.type == "cuda":
            import torch

            torch.cuda.synchronize(self._device)
        return time.perf_counter(), time.process_time()

    def _end(self) -> NoReturn:
        # Whatever the contender would still do at its end is no part of its speed.
        os._exit(0)
