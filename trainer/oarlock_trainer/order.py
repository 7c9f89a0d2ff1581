"""The order in which samples are consumed: a pure function of (seed, position), the same for any number of processes.

The epochs' permutations are laid end to end, position 0 being the first sample of the run. Step s takes the positions from
sG to (s+1)G of a batch of G, so a step may straddle two epochs, no sample is left out at the end of one, and the whole state
of the data is one integer. No I/O.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from oarlock_trainer.randomness import Purpose, draw_bits


def permute_epoch(seed: int, epoch: int, samples: int) -> NDArray[np.int64]:
    """Return the ids 0 to `samples` - 1 in the order of one epoch."""
    return np.argsort(draw_bits(seed, Purpose.ORDER, epoch, samples), kind="stable")


class Order:
    """The ids of each step's samples. Keeps the two epochs that a step can touch; for 10^6 samples each costs 0.1 s once."""

    def __init__(self, *, seed: int, samples: int, batch_size: int) -> None:
        self.samples, self.batch_size = samples, batch_size
        self._epoch = lru_cache(maxsize=2)(lambda epoch: permute_epoch(seed, epoch, samples))

    def ids_of_step(self, step: int) -> NDArray[np.int64]:
        """Return the ids [batch_size] of the samples that all ranks together consume in `step`, counted from 0."""
        return self.ids_of_positions(step * self.batch_size, (step + 1) * self.batch_size)

    def ids_of_positions(self, start: int, stop: int) -> NDArray[np.int64]:
        """Return the ids at the positions from `start` up to, not including, `stop`."""
        first, last = start // self.samples, (stop - 1) // self.samples
        pieces = [
            self._epoch(epoch)[max(0, start - epoch * self.samples) : stop - epoch * self.samples]
            for epoch in range(first, last + 1)
        ]
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)


def rows_of_rank(rank: int, processes: int, rows: int) -> slice:
    """Return which of `rows` rows belong to `rank`: consecutive ones, in shares that differ by one at most."""
    return slice(rank * rows // processes, (rank + 1) * rows // processes)
