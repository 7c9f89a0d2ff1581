"""What happens to each sample of a step: drawn on the host for the global batch from (seed, step), to be sliced by rank.

So a sample is changed the same way whoever holds it, on any number of processes, before and after a restart. Drawing is numpy
on the host, without a loop over samples; what is drawn is applied elsewhere, on the device.
"""

import math
from enum import Enum

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from oarlock_api.v1alpha1.recipe import Augment, Flip, QuadRotation
from oarlock_trainer.randomness import Purpose, bits_to_integers, bits_to_normals, bits_to_uniforms, draw_bits

_BLOCK_STEPS = 16
"""Part of what (seed, step) means: another value draws other bits."""


class Kind(Enum):
    """How random bits become a number."""

    SHIFT = "whole pixels, from -shift to shift"
    COIN = "0 or 1"
    UNIFORM = "from 0 up to 1, without 1"
    NORMAL = "with mean 0 and deviation 1"


def list_columns(augment: Augment) -> dict[str, Kind]:
    """Return what must be drawn for each sample, in order. New columns go to the end: the first four are part of every run."""
    operations = augment.rand_augment.operations if augment.rand_augment else 0
    parts: tuple[tuple[object, dict[str, Kind]], ...] = (
        (True, {"down": Kind.SHIFT, "right": Kind.SHIFT, "mirroredDown": Kind.COIN, "mirroredRight": Kind.COIN}),
        (augment.crop, {"cropTop": Kind.UNIFORM, "cropLeft": Kind.UNIFORM}),
        (augment.quad_rotation is not QuadRotation.NONE, {"quarters": Kind.UNIFORM}),
        (augment.rotation, {"angle": Kind.UNIFORM}),
        (augment.rescale, {"scale": Kind.NORMAL}),
        (augment.contrast, {"contrast": Kind.UNIFORM}),
        (augment.color, {"hue": Kind.NORMAL, "saturation": Kind.NORMAL, "value": Kind.NORMAL}),
        (augment.noise, {"noise": Kind.UNIFORM}),
        *((True, {f"operation{place}": Kind.UNIFORM, f"sign{place}": Kind.COIN}) for place in range(operations)),
        (
            augment.mixup or augment.cutmix,
            {"mixing": Kind.COIN, "share": Kind.UNIFORM, "boxDown": Kind.UNIFORM, "boxRight": Kind.UNIFORM},
        ),
    )
    return {name: kind for wanted, columns in parts if wanted for name, kind in columns.items()}


class Draws:
    """What happens to each sample of the global batch, by step. Drawn for a block of steps at once, which costs little more."""

    def __init__(self, augment: Augment, *, seed: int, samples: int) -> None:
        self._augment, self._seed, self._samples = augment, seed, samples
        self._columns = list_columns(augment)
        self._block: tuple[int, NDArray[np.float32]] | None = None

    def of_step(self, step: int) -> NDArray[np.float32]:
        """Return float32 [samples, columns]."""
        number, place = divmod(step, _BLOCK_STEPS)
        if self._block is None or self._block[0] != number:
            self._block = number, self._draw(number)
        drawn: NDArray[np.float32] = self._block[1][place]
        return drawn

    def _draw(self, block: int) -> NDArray[np.float32]:
        shape = (_BLOCK_STEPS, self._samples, len(self._columns))
        bits = draw_bits(self._seed, Purpose.AUGMENTATION, block, math.prod(shape)).reshape(shape)
        draws = np.empty(shape, dtype=np.float32)
        for column, (name, kind) in enumerate(self._columns.items()):
            draws[..., column] = self._convert(bits[..., column], name, kind)
        return draws

    def _convert(self, bits: NDArray[np.uint64], name: str, kind: Kind) -> NDArray[np.float32] | NDArray[np.int64]:
        if kind is Kind.SHIFT:
            return bits_to_integers(bits, -self._augment.shift, self._augment.shift)
        if kind is Kind.COIN:
            return bits_to_integers(bits, 0, 1) * self._is_tossed(name)
        return bits_to_uniforms(bits) if kind is Kind.UNIFORM else bits_to_normals(bits)

    def _is_tossed(self, name: str) -> bool:
        flip = self._augment.flip
        wanted = {"mirroredDown": (Flip.VERTICAL, Flip.BOTH), "mirroredRight": (Flip.HORIZONTAL, Flip.BOTH)}
        return name not in wanted or flip in wanted[name]


class Drawn:
    """The draws of some samples, on the device, by name."""

    def __init__(self, augment: Augment, draws: Tensor) -> None:
        self._draws = draws
        self._places = {name: place for place, name in enumerate(list_columns(augment))}

    def __getitem__(self, name: str) -> Tensor:
        """Return float32 [N]."""
        return self._draws[:, self._places[name]]

    def __contains__(self, name: str) -> bool:
        return name in self._places

    def whole(self, name: str) -> Tensor:
        """Return int64 [N]."""
        return self[name].to(torch.int64)
