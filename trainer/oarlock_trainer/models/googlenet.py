"""GoogLeNet (Szegedy et al. 2014) with batch norm in place of local response normalisation.

While training it returns the logits of its two auxiliary heads besides the main ones; they look at the maps in the middle, by
their mean over pixels, so that images of any size fit.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from oarlock_trainer.models.forms import SampleForm

_DROPOUT = 0.4
_AUXILIARY_DROPOUT = 0.7
_AUXILIARY_HIDDEN = 1024


class _Widths(NamedTuple):
    """Channels of the four branches of an inception block, as table 1 of the paper has them; `reduce` before the wider kernels."""

    one: int
    reduce3: int
    three: int
    reduce5: int
    five: int
    pool: int


_STAGES = (
    (_Widths(64, 96, 128, 16, 32, 32), _Widths(128, 128, 192, 32, 96, 64)),
    (
        _Widths(192, 96, 208, 16, 48, 64),
        _Widths(160, 112, 224, 24, 64, 64),
        _Widths(128, 128, 256, 24, 64, 64),
        _Widths(112, 144, 288, 32, 64, 64),
        _Widths(256, 160, 320, 32, 128, 128),
    ),
    (_Widths(256, 160, 320, 32, 128, 128), _Widths(384, 192, 384, 48, 128, 128)),
)
_AUXILIARY_AFTER = (0, 3)
"""Blocks of the middle stage."""
_FULL_WIDTH = 64
"""Channels of the first convolution in the paper."""


def _build_convolution(inputs: int, outputs: int, kernel: int, *, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


class Inception(nn.Module):
    """Convolutions of three sizes and a pooling side by side."""

    def __init__(self, inputs: int, widths: _Widths) -> None:
        super().__init__()
        self.outputs = widths.one + widths.three + widths.five + widths.pool
        self.one = _build_convolution(inputs, widths.one, 1)
        self.three = nn.Sequential(
            _build_convolution(inputs, widths.reduce3, 1), _build_convolution(widths.reduce3, widths.three, 3)
        )
        self.five = nn.Sequential(
            _build_convolution(inputs, widths.reduce5, 1), _build_convolution(widths.reduce5, widths.five, 5)
        )
        self.pool = nn.Sequential(nn.MaxPool2d(3, stride=1, padding=1), _build_convolution(inputs, widths.pool, 1))

    def forward(self, images: Tensor) -> Tensor:
        return torch.cat([self.one(images), self.three(images), self.five(images), self.pool(images)], dim=1)


class AuxiliaryHead(nn.Module):
    """The mean of a map over its pixels, and two linear layers with much dropout."""

    def __init__(self, inputs: int, outputs: int, *, hidden: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(inputs, hidden)
        self.dropout = nn.Dropout(_AUXILIARY_DROPOUT)
        self.head = nn.Linear(hidden, outputs)

    def forward(self, images: Tensor) -> Tensor:
        inner = functional.relu(self.hidden(images.mean(dim=(2, 3))))
        logits: Tensor = self.head(self.dropout(inner))
        return logits


class GoogLeNet(nn.Module):
    """[N, C, H, W] to logits [N, outputs], and to (logits, auxiliary logits, auxiliary logits) while training."""

    def __init__(self, form: SampleForm, outputs: int, *, width: int = _FULL_WIDTH) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            _build_convolution(form.channels, width, 7, stride=2),
            nn.MaxPool2d(3, stride=2, padding=1),
            _build_convolution(width, width, 1),
            _build_convolution(width, 3 * width, 3),
            nn.MaxPool2d(3, stride=2, padding=1),
        )
        first = _build_stage(3 * width, _STAGES[0], width=width)
        middle = _build_stage(first[-1].outputs, _STAGES[1], width=width)
        last = _build_stage(middle[-1].outputs, _STAGES[2], width=width)
        self.first, self.middle, self.last = nn.Sequential(*first), nn.ModuleList(middle), nn.Sequential(*last)
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)
        self.dropout = nn.Dropout(_DROPOUT)
        self.head = nn.Linear(last[-1].outputs, outputs)
        hidden = _AUXILIARY_HIDDEN * width // _FULL_WIDTH
        self.auxiliary = nn.ModuleList(
            AuxiliaryHead(middle[block].outputs, outputs, hidden=hidden) for block in _AUXILIARY_AFTER
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, ...]:
        inner = self.pool(self.first(self.stem(images)))
        maps = []
        for block in self.middle:
            inner = block(inner)
            maps.append(inner)
        inner = self.last(self.pool(inner)).mean(dim=(2, 3))
        logits: Tensor = self.head(self.dropout(inner))
        if not self.training:
            return logits
        return (logits, *(head(maps[block]) for head, block in zip(self.auxiliary, _AUXILIARY_AFTER, strict=True)))


def _build_stage(inputs: int, stage: tuple[_Widths, ...], *, width: int) -> list[Inception]:
    blocks = []
    for full in stage:
        blocks.append(Inception(inputs, _Widths(*(max(1, each * width // _FULL_WIDTH) for each in full))))
        inputs = blocks[-1].outputs
    return blocks
