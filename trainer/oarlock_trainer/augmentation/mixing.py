"""Mixup (Zhang et al. 2017) and CutMix (Yun et al. 2019): each training image with a part of another one of the same step.

Partners are a permutation of the global batch, drawn from (seed, step), so that they are the same on any number of processes.
"""

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from oarlock_api.v1alpha1.recipe import Augment
from oarlock_trainer.augmentation.draws import Drawn
from oarlock_trainer.randomness import Purpose, draw_bits

_POINTS = 8192


def pair_samples(ids: NDArray[np.int64], *, seed: int, step: int) -> NDArray[np.int64]:
    """Return the id of the partner of each sample of a step."""
    return ids[np.argsort(draw_bits(seed, Purpose.PAIRING, step, len(ids)), kind="stable")]


def mix_images(augment: Augment, images: Tensor, others: Tensor, drawn: Drawn) -> tuple[Tensor, Tensor]:
    """Return the mixed images [N, H, W, C], and the share [N] of each that is its own."""
    cut = _is_cut(augment, drawn)
    mixup, cutmix = (_draw_shares(alpha, drawn) for alpha in (augment.mixup, augment.cutmix))
    inside = _draw_boxes(cutmix, drawn, images.shape[1], images.shape[2]) & cut[:, None, None]
    own = torch.where(cut, 1 - inside.float().mean(dim=(1, 2)), mixup)
    blended = others + (images - others) * torch.where(cut, torch.ones_like(mixup), mixup)[:, None, None, None]
    return torch.where(inside[..., None], others, blended), own


def mix_classes(classes: Tensor, others: Tensor, own: Tensor, *, count: int) -> Tensor:
    """Return float32 [N, count]: the share of each class in mixed images."""
    first, second = (functional.one_hot(labels, count).float() for labels in (classes, others))
    return second + (first - second) * own[:, None]


def _is_cut(augment: Augment, drawn: Drawn) -> Tensor:
    if augment.mixup and augment.cutmix:
        return drawn["mixing"].bool()
    return torch.full_like(drawn["mixing"], bool(augment.cutmix)).bool()


def _draw_shares(alpha: float, drawn: Drawn) -> Tensor:
    if not alpha:
        return torch.ones_like(drawn["share"])
    quantiles = _keep_quantiles(alpha, drawn["share"].device)
    return quantiles[(drawn["share"] * len(quantiles)).to(torch.int64)]


def _draw_boxes(own: Tensor, drawn: Drawn, height: int, width: int) -> Tensor:
    """Return bool [N, height, width]: rectangles of the images' own form that take 1 - `own` of them, cut off at the edges."""
    side = (1 - own).clamp(min=0).sqrt()

    def span(name: str, length: int) -> Tensor:
        places = torch.arange(length, device=own.device)
        middle = (drawn[name] * length).floor()
        half = (side * length / 2).floor()
        return (places >= (middle - half)[:, None]) & (places < (middle + half)[:, None])

    return span("boxDown", height)[:, :, None] & span("boxRight", width)[:, None, :]


@lru_cache(maxsize=8)
def _keep_quantiles(alpha: float, device: torch.device) -> Tensor:
    """Keep them on the device: a copy at every step would make the host wait."""
    return torch.from_numpy(compute_beta_quantiles(alpha)).to(device)


def compute_beta_quantiles(alpha: float) -> NDArray[np.float32]:
    """Return the quantiles of Beta(alpha, alpha) at the middles of equal parts.

    Integrated over the angle t with x = sin(t)², in which the density is bounded for alpha of one half and more, and far
    less steep below.
    """
    angle = (np.arange(_POINTS) + 0.5) * (np.pi / 2 / _POINTS)
    x = np.sin(angle) ** 2
    density = (x * (1 - x)) ** (alpha - 0.5)
    cumulative = np.cumsum(density)
    cumulative = (cumulative - density / 2) / cumulative[-1]
    middles = (np.arange(_POINTS) + 0.5) / _POINTS
    quantiles: NDArray[np.float32] = np.interp(middles, cumulative, x).astype(np.float32)
    return quantiles
