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
    PAIRING = 4


def draw_bits(seed: int, purpose: Purpose, index: int, count: int) -> NDArray[np.uint64]:
    """Draw `count` words of 64 random bits for the step or epoch `index`."""
    key = np.array([seed, (purpose << _INDEX_BITS) | index], dtype=np.uint64)
    return np.random.Philox(key=key).random_raw(count)


def bits_to_integers(bits: NDArray[np.uint64], low: int, high: int) -> NDArray[np.int64]:
    """Map bits to integers from `low` to `high`, both included; a range may be 2**32 wide at most."""
    width = np.uint64(high - low + 1)
    return ((bits >> np.uint64(32)) * width >> np.uint64(32)).astype(np.int64) + low


def bits_to_uniforms(bits: NDArray[np.uint64]) -> NDArray[np.float32]:
    """Map bits to [0, 1), in steps of 2**-24, which float32 holds exactly."""
    return (bits >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-24)


def bits_to_normals(bits: NDArray[np.uint64]) -> NDArray[np.float32]:
    """Map bits to numbers with mean 0 and deviation 1 (Box and Muller), rounded so that all processors agree on them."""
    radius = np.sqrt(-2.0 * np.log(((bits >> np.uint64(32)).astype(np.float64) + 0.5) * 2.0**-32))
    turn = (bits & np.uint64(0xFFFFFFFF)).astype(np.float64) * (2.0**-32 * 2.0 * np.pi)
    return (np.round(radius * np.cos(turn) * 65536.0) / 65536.0).astype(np.float32)


def process_seed(seed: int, rank: int) -> int:
    """Return the seed of a rank's stateful generators, from which dropout draws."""
    return int(draw_bits(seed, Purpose.PROCESS, rank, 1)[0] >> np.uint64(1))
