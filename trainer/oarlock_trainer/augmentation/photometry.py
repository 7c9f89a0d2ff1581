"""Changing the values of training images: contrast, colour, noise. Images are float [N, H, W, C] from 0 to 255."""

import math

import torch
from torch import Tensor

from oarlock_api.v1alpha1.recipe import Augment, ColorShift
from oarlock_trainer.augmentation.draws import Drawn

WHITE = 255.0
_SEEDS = 1 << 24
_WORD = 0xFFFFFFFF


def changes_values(augment: Augment) -> bool:
    """Say whether `change_values` does anything."""
    return bool(augment.contrast or augment.color or augment.noise)


def change_values(augment: Augment, images: Tensor, drawn: Drawn) -> Tensor:
    """Change contrast, then colour, then add noise; the values stay from 0 to 255."""
    if augment.contrast:
        factor = 1 + augment.contrast * (2 * drawn["contrast"] - 1)
        images = scale_contrast(images, factor)
    if augment.color and images.shape[3] == 3:  # noqa: PLR2004  # red, green, blue
        images = _shift_color(augment.color, images, drawn)
    if augment.noise:
        images = images + make_noise(drawn["noise"], images.shape) * (augment.noise * WHITE)
    return images.clamp(0, WHITE)


def scale_contrast(images: Tensor, factor: Tensor) -> Tensor:
    """Multiply the distance from each channel's mean by `factor` [N]."""
    mean = images.mean(dim=(1, 2), keepdim=True)
    return (images - mean) * factor[:, None, None, None] + mean


def _shift_color(color: ColorShift, images: Tensor, drawn: Drawn) -> Tensor:
    hue, saturation, value = _to_hsv(images / WHITE)

    def shift(name: str, deviation: float) -> Tensor:
        return (drawn[name] * deviation)[:, None, None]

    hue = (hue + shift("hue", color.hue)) % 1.0
    saturation = (saturation + shift("saturation", color.saturation)).clamp(0, 1)
    value = (value + shift("value", color.value)).clamp(0, 1)
    return _from_hsv(hue, saturation, value) * WHITE


def _to_hsv(images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return hue, saturation and value [N, H, W], each from 0 to 1."""
    red, green, blue = images.unbind(dim=3)
    value, least = images.amax(dim=3), images.amin(dim=3)
    spread = value - least
    safe = torch.where(spread > 0, spread, torch.ones_like(spread))
    sixth = torch.where(
        value == red,
        ((green - blue) / safe) % 6,
        torch.where(value == green, (blue - red) / safe + 2, (red - green) / safe + 4),
    )
    saturation = torch.where(value > 0, spread / value.clamp(min=1e-6), torch.zeros_like(value))
    return sixth / 6 * (spread > 0), saturation, value


def _from_hsv(hue: Tensor, saturation: Tensor, value: Tensor) -> Tensor:
    """Return [N, H, W, 3]; each channel is the value less what the distance of its hue takes away."""

    def channel(number: int) -> Tensor:
        place = (number + hue * 6) % 6
        return value - value * saturation * torch.minimum(place, 4 - place).clamp(0, 1)

    return torch.stack((channel(5), channel(3), channel(1)), dim=3)


def make_noise(seeds: Tensor, shape: torch.Size) -> Tensor:
    """Return normal noise of `shape` [N, H, W, C], a function of `seeds` [N] from 0 to 1 and the place alone.

    Every value is made from its own counter, so it does not matter which rank or device makes it. The hash is a multiply and
    xor-shift mix of 32 bits; its halves go through the transform of Box and Muller.
    """
    places = torch.arange(math.prod(shape[1:]), device=seeds.device)
    streams = (seeds * _SEEDS).to(torch.int64)[:, None]
    bits = _mix(_mix(streams + 0x9E3779B9) + places)
    radius = (-2 * (((bits >> 16).float() + 0.5) / 65536).log()).sqrt()
    noise: Tensor = radius * ((bits & 0xFFFF).float() * (2 * math.pi / 65536)).cos()
    return noise.view(shape)


def _mix(bits: Tensor) -> Tensor:
    """Return 32 bits each of which depends on all bits of its input."""
    bits = bits & _WORD
    bits = ((bits ^ (bits >> 16)) * 0x7FEB352D) & _WORD
    bits = ((bits ^ (bits >> 15)) * 0x846CA68B) & _WORD
    return bits ^ (bits >> 16)
