"""What a model's outputs say, by task: shared by training, by what is exported, and by those who use a model without its data set."""

import torch
from torch import Tensor

from oarlock_api.v1alpha1.dataset import Task
from oarlock_api.v1alpha1.recipe import LossName
from oarlock_trainer.tasks.heat_maps import decode_boxes

CELL = 4
"""Pixels of a side of a cell of a detector's maps, also of the last, which may lie partly beyond the image."""
EMBEDDING = 16
"""Numbers in an embedding."""


def read_classes(logits: Tensor) -> Tensor:
    """Return the probability of each class, float32 [N, classes].

    Exactly one class is true. So these are right of binary cross-entropy too: odds of independent classes, given that one holds.
    """
    return logits.float().softmax(dim=1)


def read_pixels(logits: Tensor) -> Tensor:
    """Return the class of each pixel, uint8 [N, H, W]."""
    return logits.argmax(dim=1).to(torch.uint8)


def read_boxes(maps: Tensor, *, classes: int, extent: tuple[float, float]) -> Tensor:
    """Return float32 [N, K, 6]: class, score, centre, width and height as shares of the image, best first."""
    return decode_boxes(maps.float(), classes=classes, extent=extent)


def read_images(values: Tensor, *, loss: LossName) -> Tensor:
    """Return images, float32 [N, C, H, W] from 0 to 1."""
    values = values.float()
    return values.sigmoid() if loss is LossName.BINARY_CROSS_ENTROPY else values.clamp(0, 1)


def measure_extent(height: int, width: int) -> tuple[float, float]:
    """Return how many cells of a detector's maps an image takes up, down and across."""
    return height / CELL, width / CELL


def count_outputs(task: Task, *, loss: LossName | None, classes: int, channels: int) -> int:
    """Return the size of the last layer of a model for images of so many classes or target channels, or for texts."""
    if loss is LossName.CONTRASTIVE:
        return EMBEDDING
    return {Task.OBJECT_DETECTION: classes + 4, Task.IMAGE_TO_IMAGE: channels}.get(task, classes)


def read_outputs(
    outputs: Tensor, *, task: Task, loss: LossName | None, classes: int, height: int = 0, width: int = 0
) -> Tensor:
    """Return what the outputs of a model in evaluation mode say; `height` and `width` are those of its inputs, if images."""
    if loss is LossName.CONTRASTIVE:
        return outputs.float()
    if task is Task.SEGMENTATION:
        return read_pixels(outputs)
    if task is Task.OBJECT_DETECTION:
        return read_boxes(outputs, classes=classes, extent=measure_extent(height, width))
    if task is Task.IMAGE_TO_IMAGE:
        return read_images(outputs, loss=loss or LossName.MSE)
    return read_classes(outputs)
