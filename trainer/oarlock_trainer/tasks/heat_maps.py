"""Boxes as peaks of a heat map, and back: what a detector of centres is trained on, and how its outputs are read."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

_LEAST_OVERLAP = 0.7
"""A box whose centre is off by the radius of a peak still overlaps the true one by this."""
_MOST_BOXES = 100
"""Boxes that are read from one image."""
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

    One box after the other, so that of two with one centre the later counts on every device; all images at once.
    """
    count, device = len(boxes), boxes.device
    tall, broad = extent
    heat = torch.zeros(count, classes, height, width, device=device)
    places = torch.zeros(count, 4, height, width, device=device)
    is_centre = torch.zeros(count, 1, height, width, device=device)
    images = torch.arange(count, device=device)
    rows, columns = torch.arange(height, device=device)[:, None], torch.arange(width, device=device)[None, :]
    for box in boxes.unbind(dim=1):
        kind, present = box[:, 0].clamp(min=0).to(torch.int64), box[:, 0] >= 0
        across, down, wide, high = box[:, 1] * broad, box[:, 2] * tall, box[:, 3] * broad, box[:, 4] * tall
        x, y = across.floor().clamp(0, width - 1), down.floor().clamp(0, height - 1)
        distance = (columns - x[:, None, None]) ** 2 + (rows - y[:, None, None]) ** 2
        spread = (2 * _measure_radius(wide, high) + 1) / 6
        peak = torch.exp(-distance / (2 * spread**2)[:, None, None]) * present[:, None, None]
        heat[images, kind] = torch.maximum(heat[images, kind], peak)
        centre = ((distance == 0) & present[:, None, None])[:, None]
        values = torch.stack((wide, high, across - x, down - y), dim=1)[:, :, None, None]
        places = torch.where(centre, values, places)
        is_centre = torch.where(centre, torch.ones_like(is_centre), is_centre)
    return HeatTargets(heat=heat, places=places, is_centre=is_centre)


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


def heat_losses(logits: Tensor, heat: Tensor) -> Tensor:
    """Return [N]: the focal loss of heat maps [N, classes, h, w], less strict the nearer a cell is to a centre."""
    peaks = heat == 1
    shares = logits.sigmoid().clamp(_CERTAIN, 1 - _CERTAIN)
    at_peaks = (1 - shares) ** 2 * shares.log()
    elsewhere = (1 - heat) ** 4 * shares**2 * (1 - shares).log()
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
