"""The two columns of every data set: what goes into a model, and what it is to say about it. Pure.

Each is an array of one type and one shape for all samples, so that a sample is a piece of memory of known size, which is moved and
never parsed.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from oarlock_api.v1alpha1.dataset import Task
from oarlock_api.wire import OpenModel

IGNORED_PIXEL = 255
"""Value of a mask where nothing is to be learned."""
NO_BOX = -1.0
"""Class of the rows that fill up a sample's boxes."""
BOX_VALUES = 5
"""Class, x and y of the centre, width, height: the last four as shares of the image."""


class ColumnType(StrEnum):
    """Type of a column's numbers, by the name that Arrow and numpy share."""

    UINT8 = "uint8"
    UINT16 = "uint16"
    INT32 = "int32"
    FLOAT32 = "float32"


class Column(OpenModel):
    """One array per sample."""

    name: str
    """Name of the column in the Arrow files."""
    dtype: ColumnType
    """Type of its numbers."""
    shape: tuple[Annotated[int, Field(ge=1)], ...]
    """Shape of one sample's array; empty: a single number."""

    @property
    def row_bytes(self) -> int:
        """Size of one sample's array."""
        return int(np.dtype(self.dtype).itemsize) * math.prod(self.shape)

    def cast(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Return rows [N, *shape] in this column's type, contiguous.

        Raises:
            ValueError: if they are of another shape, or their values do not fit the type.
        """
        if rows.shape[1:] != self.shape:
            raise ValueError(f"rows of the column {self.name} have the shape {list(self.shape)}, got {rows.shape[1:]}")
        cast = np.ascontiguousarray(rows, dtype=self.dtype)
        if rows.dtype != cast.dtype and not np.array_equal(rows, cast, equal_nan=rows.dtype.kind == "f"):
            raise ValueError(f"values of the column {self.name} do not fit {self.dtype}")
        return cast


@dataclass(frozen=True, kw_only=True, slots=True)
class Columns:
    """What a sample consists of."""

    input: Column
    target: Column | None
    """None: the input is what the model is to say, as for an autoencoder; it is not stored twice."""

    @property
    def stored(self) -> tuple[Column, ...]:
        """The columns of the Arrow files, in their order."""
        return (self.input,) if self.target is None else (self.input, self.target)

    @property
    def row_bytes(self) -> int:
        """Size of a sample, but for a target that is a single number."""
        return sum(column.row_bytes for column in self.stored if column.shape)


_TARGETS: Mapping[Task, tuple[str, ColumnType]] = MappingProxyType(
    {
        Task.IMAGE_CLASSIFICATION: ("label", ColumnType.INT32),
        Task.SEGMENTATION: ("mask", ColumnType.UINT8),
        Task.OBJECT_DETECTION: ("boxes", ColumnType.FLOAT32),
        Task.IMAGE_TO_IMAGE: ("target", ColumnType.UINT8),
        Task.TEXT_CLASSIFICATION: ("label", ColumnType.INT32),
    }
)


def choose_columns(task: Task, input_shape: tuple[int, ...], target_shape: tuple[int, ...] | None = ()) -> Columns:
    """Return the columns of a task: the input [H, W, C] or [L], and its target; None: the input is its own target.

    Raises:
        KeyError: if the task is not stored yet.
    """
    name, dtype = _TARGETS[task]
    text = task is Task.TEXT_CLASSIFICATION
    return Columns(
        input=Column(
            name="text" if text else "image", dtype=ColumnType.UINT16 if text else ColumnType.UINT8, shape=input_shape
        ),
        target=None if target_shape is None else Column(name=name, dtype=dtype, shape=target_shape),
    )


def count_classes(task: Task, targets: NDArray[Any], *, classes: int) -> list[int]:
    """Return what there is of each class in targets [N, ...]: samples, of masks pixels, of boxes boxes."""
    if not classes:
        return []
    if task is Task.OBJECT_DETECTION:
        found = targets[..., 0]
        targets = found[found != NO_BOX]
    elif task is Task.SEGMENTATION:
        targets = targets[targets != IGNORED_PIXEL]
    counts: list[int] = np.bincount(targets.reshape(-1).astype(np.int64), minlength=classes).tolist()
    return counts
