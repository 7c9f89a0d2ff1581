"""Random changes to training images, applied on the device to whole batches of uint8.

What happens to each sample is drawn for the global batch from (seed, step) and sliced by rank, so that a sample is changed
the same way whoever holds it. Drawing is numpy on the host, applying is torch on the device; neither loops over samples.
"""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from oarlock_api.v1alpha1.recipe import Augment, Flip
from oarlock_trainer.randomness import Purpose, bits_to_integers, draw_bits

_COLUMNS = 4
_BLOCK_STEPS = 16
"""Part of what (seed, step) means: another value draws other bits."""


class Draws:
    """What happens to each sample of the global batch, by step. Drawn for a block of steps at once, which costs little more."""

    def __init__(self, augment: Augment, *, seed: int, samples: int) -> None:
        self._augment, self._seed, self._samples = augment, seed, samples
        self._block: tuple[int, NDArray[np.int64]] | None = None

    def of_step(self, step: int) -> NDArray[np.int64]:
        """Return int64 [samples, 4]: rows down, columns right, mirrored top to bottom, mirrored left to right."""
        number, place = divmod(step, _BLOCK_STEPS)
        if self._block is None or self._block[0] != number:
            self._block = number, self._draw(number)
        drawn: NDArray[np.int64] = self._block[1][place]
        return drawn

    def _draw(self, block: int) -> NDArray[np.int64]:
        shape = (_BLOCK_STEPS, self._samples, _COLUMNS)
        bits = draw_bits(self._seed, Purpose.AUGMENTATION, block, math.prod(shape)).reshape(shape)
        shift, flip = self._augment.shift, self._augment.flip
        draws = np.empty(shape, dtype=np.int64)
        draws[..., :2] = bits_to_integers(bits[..., :2], -shift, shift)
        draws[..., 2] = bits_to_integers(bits[..., 2], 0, 1) * (flip in (Flip.VERTICAL, Flip.BOTH))
        draws[..., 3] = bits_to_integers(bits[..., 3], 0, 1) * (flip in (Flip.HORIZONTAL, Flip.BOTH))
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
