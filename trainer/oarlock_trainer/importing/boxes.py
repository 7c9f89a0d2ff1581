"""From boxes in pixels of the found image to boxes as shares of the stored one: cut at the edges, moved as the image is. Pure."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oarlock_trainer.datasets.columns import BOX_VALUES, NO_BOX
from oarlock_trainer.importing.geometry import place_image
from oarlock_trainer.importing.images import PixelFormat

_LEAST_PART = 0.25
"""Of a box's area, within what crop leaves of the image."""
CROPPED_AWAY = "boxes that crop cuts off"


@dataclass(frozen=True, kw_only=True, slots=True)
class PlacedBoxes:
    """The boxes of one image."""

    rows: NDArray[np.float32]
    """[most, 5]: class, x and y of the centre, width, height; filled up with rows of class -1."""
    flaws: list[str]
    """What is wrong with boxes that are left out."""
    remarks: Counter[str]


def place_boxes(
    boxes: NDArray[np.float32], *, image_size: tuple[int, int], form: PixelFormat, most: int
) -> PlacedBoxes:
    """Return the boxes [N, 5] (class; left, top, right, bottom in pixels) of an image of the size (width, height)."""
    rows = np.zeros((most, BOX_VALUES), dtype=np.float32)
    rows[:, 0] = NO_BOX
    found = [(box, find_flaw(box, image_size)) for box in boxes.astype(np.float64)]
    good = [box for box, flaw in found if not flaw]
    shares = [share for box in good if (share := _to_shares(box, image_size, form)) is not None]
    for row, share in zip(rows, shares, strict=False):
        row[:] = share
    cropped = Counter({CROPPED_AWAY: len(good) - len(shares)})
    return PlacedBoxes(rows=rows, flaws=[flaw for _, flaw in found if flaw], remarks=+cropped)


def find_flaw(box: NDArray[np.float64], image_size: tuple[int, int]) -> str:
    """Return what is wrong with a box; nothing as a rule."""
    _, left, top, right, bottom = box.tolist()
    shown = f"the box from {left:g}, {top:g} to {right:g}, {bottom:g}"
    if not np.isfinite(box).all():
        return f"{shown} is not made of numbers"
    if right <= left or bottom <= top:
        return f"{shown} has no area"
    if right <= 0 or bottom <= 0 or left >= image_size[0] or top >= image_size[1]:
        return f"{shown} lies outside the image of {image_size[0]}x{image_size[1]} pixels"
    return ""


def _to_shares(box: NDArray[np.float64], image_size: tuple[int, int], form: PixelFormat) -> list[float] | None:
    """Return class, centre, width and height; None if next to nothing of the box is in the stored image."""
    kind, *edges = box.tolist()
    width, height = image_size
    left, top, right, bottom = _cut((edges[0] / width, edges[1] / height, edges[2] / width, edges[3] / height))
    place = place_image(image_size, (form.width, form.height), form.resize)
    moved = (
        left * place.scale_x + place.offset_x,
        top * place.scale_y + place.offset_y,
        right * place.scale_x + place.offset_x,
        bottom * place.scale_y + place.offset_y,
    )
    seen = _cut(moved)
    if _area(seen) < _LEAST_PART * _area(moved):
        return None
    left, top, right, bottom = seen
    return [kind, (left + right) / 2, (top + bottom) / 2, right - left, bottom - top]


def _cut(edges: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    left, top, right, bottom = (min(1.0, max(0.0, edge)) for edge in edges)
    return left, top, right, bottom


def _area(edges: tuple[float, float, float, float]) -> float:
    left, top, right, bottom = edges
    return (right - left) * (bottom - top)
