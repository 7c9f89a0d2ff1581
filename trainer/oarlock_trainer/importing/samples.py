"""What a layout found in a source: samples with labels, not yet read, and the classes they belong to.

Samples are either image files or the rows of a table of pixels. Pure: no I/O.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

SPLITS = ("train", "validation", "test")
"""Every split that there is, by the number that stands for it in `Listing.given`."""

UNDIVIDED = -1

_MAX_DIGITS = 18
"""Longer strings of digits are names, such as hashes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FileSamples:
    """Image files, decoded by Pillow."""

    root: Path
    paths: list[str]
    """Relative to `root`."""

    def __len__(self) -> int:
        return len(self.paths)

    def take(self, rows: NDArray[np.int64]) -> "FileSamples":
        return FileSamples(root=self.root, paths=[self.paths[row] for row in rows.tolist()])


@dataclass(frozen=True, kw_only=True, slots=True)
class TableSamples:
    """Rows of a file of bare pixels, one byte each, that the importer wrote itself."""

    file: Path
    height: int
    width: int
    rows: NDArray[np.int64]
    """Which images of the file."""

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, rows: NDArray[np.int64]) -> "TableSamples":
        return TableSamples(file=self.file, height=self.height, width=self.width, rows=self.rows[rows])


Samples = FileSamples | TableSamples


@dataclass(frozen=True, kw_only=True, slots=True)
class Listing:
    """All samples of a source, in an order that depends on nothing but the source."""

    classes: list[str]
    samples: Samples
    labels: NDArray[np.int32]
    """[N]: index into `classes`."""
    given: NDArray[np.int8]
    """[N]: index into `SPLITS` where the source says to which split a sample belongs, else UNDIVIDED."""
    ignored: dict[str, int] = field(default_factory=dict)
    """Files that are not images by their names, counted by ending."""


def undivided(count: int) -> NDArray[np.int8]:
    """Return the `Listing.given` of a source that knows no splits."""
    return np.full(count, UNDIVIDED, dtype=np.int8)


def index_classes(names: list[str]) -> tuple[list[str], NDArray[np.int32]]:
    """Return the classes among the labels, numbers in the order of numbers, and the index of each label."""
    unique = sorted(set(names), key=_natural_key)
    index = {name: position for position, name in enumerate(unique)}
    return unique, np.array([index[name] for name in names], dtype=np.int32)


def _natural_key(name: str) -> tuple[int, int, str]:
    number = name.isascii() and name.isdigit() and len(name) <= _MAX_DIGITS
    return (0, int(name), name) if number else (1, 0, name)
