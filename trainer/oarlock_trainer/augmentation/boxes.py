"""Boxes that move with their images: float32 [N, M, 5] of class, centre, width and height as shares of the image.

A box whose centre leaves the image is dropped: its class becomes -1. Turns by any angle have no box for an answer; the
operator refuses them for object detection.
"""

import torch
from torch import Tensor

from oarlock_api.v1alpha1.recipe import Augment, Flip, QuadRotation
from oarlock_trainer.augmentation.draws import Drawn
from oarlock_trainer.augmentation.geometry import draw_quarters, draw_scale, draw_window
from oarlock_trainer.datasets.columns import NO_BOX


def move_boxes(augment: Augment, boxes: Tensor, drawn: Drawn, *, height: int, width: int) -> Tensor:
    """Return the boxes after all that `augment` does to images of `height` by `width` pixels."""
    if augment.flip is not Flip.NONE:
        boxes = _mirror(boxes, drawn["mirroredDown"], column=2)
        boxes = _mirror(boxes, drawn["mirroredRight"], column=1)
    if augment.shift or augment.crop:
        top, left, rows, columns = draw_window(augment, drawn, height, width)
        boxes = window_boxes(boxes, top, left, rows / height, columns / width, height=height, width=width)
    if augment.quad_rotation is not QuadRotation.NONE:
        boxes = _turn_quarters(boxes, draw_quarters(augment, drawn))
    if augment.rescale:
        scale = draw_scale(augment, drawn)[:, None]
        kind, across, down, wide, high = boxes.unbind(dim=2)
        boxes = torch.stack(
            (kind, 0.5 + (across - 0.5) * scale, 0.5 + (down - 0.5) * scale, wide * scale, high * scale), dim=2
        )
    return clip_boxes(boxes)


def window_boxes(
    boxes: Tensor, top: Tensor, left: Tensor, rows: float, columns: float, *, height: int, width: int
) -> Tensor:
    """Return the boxes as shares of windows that begin at `top` and `left` [N] pixels and take shares of the sides."""
    kind, across, down, wide, high = boxes.unbind(dim=2)
    across = (across - (left / width)[:, None]) / columns
    down = (down - (top / height)[:, None]) / rows
    return torch.stack((kind, across, down, wide / columns, high / rows), dim=2)


def clip_boxes(boxes: Tensor) -> Tensor:
    """Cut the boxes off at the edges of the image, and drop those whose centre is outside."""
    kind, across, down, wide, high = boxes.unbind(dim=2)
    inside = (across >= 0) & (across < 1) & (down >= 0) & (down < 1)
    left, right = (across - wide / 2).clamp(0, 1), (across + wide / 2).clamp(0, 1)
    top, bottom = (down - high / 2).clamp(0, 1), (down + high / 2).clamp(0, 1)
    kind = torch.where(inside, kind, torch.full_like(kind, NO_BOX))
    return torch.stack((kind, (left + right) / 2, (top + bottom) / 2, right - left, bottom - top), dim=2)


def _mirror(boxes: Tensor, chosen: Tensor, *, column: int) -> Tensor:
    mirrored = boxes.clone()
    mirrored[:, :, column] = 1 - boxes[:, :, column]
    return torch.where(chosen.bool()[:, None, None], mirrored, boxes)


def _turn_quarters(boxes: Tensor, quarters: Tensor) -> Tensor:
    """Turn counter-clockwise: once, the right edge becomes the top one."""
    turned = boxes
    kind, across, down, wide, high = boxes.unbind(dim=2)
    for quarter, parts in (
        (1, (kind, down, 1 - across, high, wide)),
        (2, (kind, 1 - across, 1 - down, wide, high)),
        (3, (kind, 1 - down, across, high, wide)),
    ):
        turned = torch.where((quarters == quarter)[:, None, None], torch.stack(parts, dim=2), turned)
    return turned
