"""Random changes to training images, applied on the device to whole batches of uint8.

What happens to each sample is drawn for the global batch from (seed, step) and sliced by rank, so that a sample is changed
the same way whoever holds it. Drawing is numpy on the host, applying is torch on the device; neither loops over samples.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from oarlock_api.v1alpha1.recipe import Augment, Flip
from oarlock_trainer.randomness import Purpose, bits_to_integers, draw_bits

_COLUMNS = 4
"""Rows down, columns right, mirrored top to bottom, mirrored left to right."""


def draw_augmentation(augment: Augment, *, seed: int, step: int, samples: int) -> NDArray[np.int64]:
    """Return what happens to each of the global batch's `samples` samples: int64 [samples, 4]."""
    bits = draw_bits(seed, Purpose.AUGMENTATION, step, samples * _COLUMNS).reshape(samples, _COLUMNS)
    draws = np.empty((samples, _COLUMNS), dtype=np.int64)
    draws[:, :2] = bits_to_integers(bits[:, :2], -augment.shift, augment.shift)
    draws[:, 2] = bits_to_integers(bits[:, 2], 0, 1) * (augment.flip in (Flip.VERTICAL, Flip.BOTH))
    draws[:, 3] = bits_to_integers(bits[:, 3], 0, 1) * (augment.flip in (Flip.HORIZONTAL, Flip.BOTH))
    return draws


def apply_augmentation(augment: Augment, images: Tensor, draws: Tensor) -> Tensor:
    """Change uint8 `images` [N, H, W, C] as `draws` [N, 4] says; what a shift uncovers becomes black."""
    if augment.flip is not Flip.NONE:
        images = _mirror(images, draws[:, 2], dim=1)
        images = _mirror(images, draws[:, 3], dim=2)
    return _shift(images, draws[:, 0], draws[:, 1], most=augment.shift) if augment.shift else images


def _mirror(images: Tensor, chosen: Tensor, *, dim: int) -> Tensor:
    return torch.where(chosen.bool()[:, None, None, None], images.flip(dim), images)


def _shift(images: Tensor, down: Tensor, right: Tensor, *, most: int) -> Tensor:
    """Move each image by its own number of pixels, at most `most`, with one gather of whole rows.

    The padded batch is seen as all runs of W·C consecutive bytes; each row of the result is one of these runs.
    """
    samples, height, width, channels = images.shape
    padded = functional.pad(images, (0, 0, most, most, most, most)).view(-1)
    run, stride = width * channels, (width + 2 * most) * channels
    runs = padded.as_strided((padded.numel() - run + 1, run), (1, 1))
    first_rows = torch.arange(samples, device=images.device) * (height + 2 * most) + most - down
    rows = first_rows[:, None] + torch.arange(height, device=images.device)
    starts = rows * stride + (most - right)[:, None] * channels
    return runs.index_select(0, starts.view(-1)).view(images.shape)
