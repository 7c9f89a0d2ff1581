"""Mean and spread of pixels, summed exactly in integers.

The result depends neither on the order of the samples nor on how they were divided among processes. Pure.
"""

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

_CHUNK_BYTES = 2**18
"""Pixels summed at a time: they and their squares stay in the processor's cache."""
_MAX_ROWS = 2**16
"""Images summed at a time: so many squares of 255 fit in 32 bits, which are summed twice as fast as 64."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PixelSums:
    """Sums over images of one shape [H, W, C]."""

    samples: int
    total: NDArray[np.uint64]
    """[H, W, C]: sum of each pixel."""
    squares: NDArray[np.uint64]
    """[C]: sum of the squares of each channel."""

    @classmethod
    def of(cls, images: NDArray[np.uint8]) -> Self:
        """Sum images [N, H, W, C]."""
        shape = images.shape[1:]
        flat = images.reshape(len(images), math.prod(shape))
        total, squares = np.zeros((2, flat.shape[1]), dtype=np.uint64)
        rows = min(max(1, _CHUNK_BYTES // max(1, flat.shape[1])), _MAX_ROWS)
        for start in range(0, len(flat), rows):
            chunk = flat[start : start + rows]
            total += chunk.sum(axis=0, dtype=np.uint32)
            squares += np.square(chunk, dtype=np.uint16).sum(axis=0, dtype=np.uint32)
        return cls(samples=len(images), total=total.reshape(shape), squares=squares.reshape(shape).sum(axis=(0, 1)))

    def __add__(self, other: "PixelSums") -> "PixelSums":
        return PixelSums(
            samples=self.samples + other.samples,
            total=self.total + other.total,
            squares=self.squares + other.squares,
        )

    def mean_image(self) -> NDArray[np.float32]:
        """Return the mean [H, W, C], from 0 to 255."""
        return (self.total / self.samples).astype(np.float32)

    def mean(self) -> list[float]:
        """Return the mean of each channel, from 0 to 255."""
        return [int(total) / self._values() for total in self.total.sum(axis=(0, 1))]

    def std(self) -> list[float]:
        """Return the standard deviation of each channel, in the unit of the pixels."""
        values = self._values()
        # In Python's integers, which neither round nor overflow: the difference of two large numbers is what counts.
        variances = [
            (int(square) * values - int(total) ** 2) / values**2
            for square, total in zip(self.squares, self.total.sum(axis=(0, 1)), strict=True)
        ]
        return [float(variance) ** 0.5 for variance in variances]

    def _values(self) -> int:
        height, width, _ = self.total.shape
        return self.samples * int(height) * int(width)
