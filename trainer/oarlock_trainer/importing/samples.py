"""What a layout found in a source: samples, not yet read, and the classes they belong to.

Each kind says where its samples lie; `forms` says what they become. Pure: no I/O.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from oarlock_trainer.datasets import Reject

SPLITS = ("train", "validation", "test")
"""Every split that there is, by the number that stands for it in `Listing.given`."""

UNDIVIDED = -1

_MAX_DIGITS = 18
"""Longer strings of digits are names, such as hashes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FileSamples:
    """Files of images or texts, one for each sample."""

    root: Path
    paths: list[str]
    """Relative to `root`."""

    def __len__(self) -> int:
        return len(self.paths)

    def take(self, rows: NDArray[np.int64]) -> "FileSamples":
        return FileSamples(root=self.root, paths=[self.paths[row] for row in rows.tolist()])

    def files_of(self, position: int) -> tuple[str, ...]:
        """Return the files of a sample, relative to `root`."""
        return (self.paths[position],)


@dataclass(frozen=True, kw_only=True, slots=True)
class PairSamples:
    """Image files with the file of a mask or of another image each."""

    root: Path
    paths: list[str]
    partners: list[str]
    """Relative to `root`, as `paths`."""

    def __len__(self) -> int:
        return len(self.paths)

    def take(self, rows: NDArray[np.int64]) -> "PairSamples":
        chosen = rows.tolist()
        return PairSamples(
            root=self.root, paths=[self.paths[row] for row in chosen], partners=[self.partners[row] for row in chosen]
        )

    def files_of(self, position: int) -> tuple[str, ...]:
        return self.paths[position], self.partners[position]


@dataclass(frozen=True, kw_only=True, slots=True)
class BoxSamples:
    """Image files with the boxes of what is seen in them."""

    root: Path
    paths: list[str]
    boxes: list[NDArray[np.float32]]
    """[boxes, 5] each: class; left, top, right, bottom in pixels of the image as it is displayed."""
    sources: list[str]
    """Where the boxes of each were found, relative to `root`."""

    def __len__(self) -> int:
        return len(self.paths)

    def take(self, rows: NDArray[np.int64]) -> "BoxSamples":
        chosen = rows.tolist()
        return BoxSamples(
            root=self.root,
            paths=[self.paths[row] for row in chosen],
            boxes=[self.boxes[row] for row in chosen],
            sources=[self.sources[row] for row in chosen],
        )

    def files_of(self, position: int) -> tuple[str, ...]:
        return (self.paths[position],)


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


@dataclass(frozen=True, kw_only=True, slots=True)
class SpooledTexts:
    """Pieces of one file of UTF-8 that the importer wrote itself."""

    file: Path
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    lines: NDArray[np.int64]
    """Where in the table each of them ends."""

    def __len__(self) -> int:
        return len(self.starts)

    def take(self, rows: NDArray[np.int64]) -> "SpooledTexts":
        return SpooledTexts(file=self.file, starts=self.starts[rows], ends=self.ends[rows], lines=self.lines[rows])


Files = FileSamples | PairSamples | BoxSamples
"""Samples whose source is a file each, which may turn out to be broken."""
Samples = Files | TableSamples | SpooledTexts


@dataclass(frozen=True, kw_only=True, slots=True)
class Listing:
    """All samples of a source, in an order that depends on nothing but the source."""

    classes: list[str]
    samples: Samples
    labels: NDArray[np.int32]
    """[N]: index into `classes`; zeros where a sample as a whole belongs to no class."""
    given: NDArray[np.int8]
    """[N]: index into `SPLITS` where the source says to which split a sample belongs, else UNDIVIDED."""
    ignored: dict[str, int] = field(default_factory=dict)
    """Files that are not samples by their names, counted by ending."""
    rejects: list[Reject] = field(default_factory=list)
    """Files that were refused before they were opened."""
    flaws: list[Reject] = field(default_factory=list)
    """Parts of samples, such as boxes, that were refused before the samples were opened."""
    remarks: dict[str, int] = field(default_factory=dict)
    """What was left out or read in another way, counted by what it was."""


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
