"""Random draws as a pure function of (seed, purpose, index): what makes order and augmentation independent of who computes them.

Philox is counter-based: the bits for one step need no state from the step before, so a resumed run, and a run on another
number of processes, draws what the undisturbed one drew. Only raw bits of numpy's generator are used, whose streams never
change between versions; its distributions may. No I/O, no global state.
"""

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

_INDEX_BITS = 56


class Purpose(IntEnum):
    """What the draws are for: equal seeds and indices give independent bits for each. Values are part of every checkpoint."""

    ORDER = 1
    AUGMENTATION = 2
    PROCESS = 3


def draw_bits(seed: int, purpose: Purpose, index: int, count: int) -> NDArray[np.uint64]:
    """Draw `count` words of 64 random bits for the step or epoch `index`."""
    key = np.array([seed, (purpose << _INDEX_BITS) | index], dtype=np.uint64)
    return np.random.Philox(key=key).random_raw(count)


def bits_to_integers(bits: NDArray[np.uint64], low: int, high: int) -> NDArray[np.int64]:
    """Map bits to integers from `low` to `high`, both included; a range may be 2**32 wide at most."""
    width = np.uint64(high - low + 1)
    return ((bits >> np.uint64(32)) * width >> np.uint64(32)).astype(np.int64) + low


def process_seed(seed: int, rank: int) -> int:
    """Return the seed of a rank's stateful generators, from which dropout draws."""
    return int(draw_bits(seed, Purpose.PROCESS, rank, 1)[0] >> np.uint64(1))
