"""Boxes as peaks of a heat map, and back: what a detector of centres is trained on, and how its outputs are read."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

_LEAST_OVERLAP = 0.7
"""A box whose centre is off by the radius of a peak still overlaps the true one by this."""
_MOST_BOXES = 100
"""Boxes that are read from one image."""
_BOXES_AT_ONCE = 32
"""Peaks that are drawn at once, each as large as the heat map: more would take more memory than time."""
_CERTAIN = 1e-4


@dataclass(frozen=True, kw_only=True, slots=True)
class HeatTargets:
    """What the outputs should be."""

    heat: Tensor
    """float32 [N, classes, h, w]: 1 at the cell of a centre, less around it."""
    places: Tensor
    """float32 [N, 4, h, w]: width and height in cells, and the centre's distance from its cell's corner; 0 elsewhere."""
    is_centre: Tensor
    """float32 [N, 1, h, w]."""


def draw_targets(boxes: Tensor, *, classes: int, height: int, width: int, extent: tuple[float, float]) -> HeatTargets:
    """Return the targets, on a grid of `height` by `width` cells, of boxes [N, M, 5].

    The image takes up `extent` of the cells, down and across: where a side is no multiple of a cell's, the last lies partly
    beyond it.

    Of two boxes with one centre the later counts, on every device.
    """
    tall, broad = extent
    kind, present = boxes[..., 0].clamp(min=0).to(torch.int64), boxes[..., 0] >= 0
    across, down, wide, high = (
        boxes[..., 1] * broad,
        boxes[..., 2] * tall,
        boxes[..., 3] * broad,
        boxes[..., 4] * tall,
    )
    x, y = across.floor().clamp(0, width - 1), down.floor().clamp(0, height - 1)
    cell = (y * width + x).to(torch.int64)
    counts = present & ~_is_covered(cell, present)
    values = torch.stack((wide, high, across - x, down - y, torch.ones_like(x)), dim=1)
    marked = _mark_cells(values, cell, counts, cells=height * width).reshape(len(boxes), -1, height, width)
    return HeatTargets(
        heat=_draw_peaks(
            x, y, kind, present, spread=(2 * _measure_radius(wide, high) + 1) / 6, like=marked, classes=classes
        ),
        places=marked[:, :4],
        is_centre=marked[:, 4:],
    )


def _is_covered(cell: Tensor, present: Tensor) -> Tensor:
    """Say of each box [N, M] whether one that comes later has its centre in the same cell."""
    same = (cell[:, :, None] == cell[:, None, :]) & present[:, None, :]
    return same.triu(diagonal=1).any(dim=2)


def _mark_cells(values: Tensor, cell: Tensor, counts: Tensor, *, cells: int) -> Tensor:
    """Return [N, V, cells]: the values [N, V, M] of the boxes that count at their cells, and 0 elsewhere."""
    # What does not count goes to one cell more, which is cut off: no two boxes are left that write to one place.
    place = torch.where(counts, cell, cells)[:, None, :].expand_as(values)
    return values.new_zeros(*values.shape[:2], cells + 1).scatter_(2, place, values)[:, :, :cells]


def _draw_peaks(
    x: Tensor, y: Tensor, kind: Tensor, present: Tensor, *, spread: Tensor, like: Tensor, classes: int
) -> Tensor:
    """Return [N, classes, h, w]: the highest of the peaks of a class in each cell. A few boxes of all images at once."""
    count, _, height, width = like.shape
    heat = like.new_zeros(count, classes, height, width)
    rows, columns = (torch.arange(side, device=x.device) for side in (height, width))
    boxes = (torch.split(each[:, :, None, None], _BOXES_AT_ONCE, dim=1) for each in (x, y, kind, present, spread))
    for across, down, kinds, there, wide in zip(*boxes, strict=True):
        distance = (columns - across) ** 2 + (rows[:, None] - down) ** 2
        peaks = torch.exp(-distance / (2 * wide**2)) * there
        heat.scatter_reduce_(1, kinds.expand_as(peaks), peaks, reduce="amax")
    return heat


def _measure_radius(wide: Tensor, high: Tensor) -> Tensor:
    """Return how far, in whole cells, both corners of a box may be off for the least overlap (Law and Deng 2018)."""
    total, area, overlap = wide + high, wide * high, _LEAST_OVERLAP
    ways = (
        (1.0, -total, area * (1 - overlap) / (1 + overlap)),
        (4.0, -2 * total, (1 - overlap) * area),
        (4 * overlap, 2 * overlap * total, (overlap - 1) * area),
    )
    shifted, inside, outside = (
        (-b + sign * (b**2 - 4 * a * c).clamp(min=0).sqrt()) / (2 * a)
        for (a, b, c), sign in zip(ways, (-1, -1, 1), strict=True)
    )
    return torch.minimum(torch.minimum(shifted, inside), outside).clamp(min=0).floor()


def heat_losses(logits: Tensor, heat: Tensor, *, gamma: float) -> Tensor:
    """Return [N]: the focal loss of heat maps [N, classes, h, w], less strict the nearer a cell is to a centre.

    The higher `gamma`, the less a cell counts that is predicted well; the authors have 2.
    """
    peaks = heat == 1
    shares = logits.sigmoid().clamp(_CERTAIN, 1 - _CERTAIN)
    at_peaks = (1 - shares) ** gamma * shares.log()
    elsewhere = (1 - heat) ** 4 * shares**gamma * (1 - shares).log()
    return -torch.where(peaks, at_peaks, elsewhere).sum(dim=(1, 2, 3))


def decode_boxes(maps: Tensor, *, classes: int, extent: tuple[float, float]) -> Tensor:
    """Return float32 [N, K, 6]: class, score, centre, width and height as shares of the image, best first.

    The image takes up `extent` of the cells, down and across.

    Cells that are the highest of their neighbourhood are boxes; nothing else suppresses doubles.
    """
    (height, width), (tall, broad) = maps.shape[2:], extent
    heat = maps[:, :classes].sigmoid()
    heat = heat * (heat == functional.max_pool2d(heat, 3, stride=1, padding=1))
    scores, found = heat.flatten(1).topk(min(_MOST_BOXES, classes * height * width), dim=1)
    kind, cell = found // (height * width), found % (height * width)
    values = maps[:, classes:].flatten(2).gather(2, cell[:, None, :].expand(-1, 4, -1))
    across = (cell % width + values[:, 2]) / broad
    down = (torch.div(cell, width, rounding_mode="floor") + values[:, 3]) / tall
    return torch.stack(
        (kind.float(), scores, across, down, values[:, 0].clamp(min=0) / broad, values[:, 1].clamp(min=0) / tall),
        dim=2,
    )
