"""RandAugment (Cubuk et al. 2019): some operations out of a list to each image, all of one strength.

The operations and their ranges are the usual ones but for `equalize`, whose histograms have no form that is the same on
every device. Drawn like every other change, so that runs resume exactly. Images are float [N, H, W, C] from 0 to 255.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from oarlock_api.v1alpha1.recipe import RandAugment
from oarlock_trainer.augmentation.draws import Drawn
from oarlock_trainer.augmentation.geometry import resample
from oarlock_trainer.augmentation.photometry import WHITE, scale_contrast

_STRONGEST = 30.0
_LUMA = (0.299, 0.587, 0.114)
_GEOMETRIC = ("identity", "rotate", "shearX", "shearY", "translateX", "translateY")
_Change = Callable[[Tensor, float, Tensor], Tensor]


def rand_augment(setting: RandAugment, images: Tensor, drawn: Drawn) -> Tensor:
    """Return the images, each changed by its own operations."""
    strength = setting.magnitude / _STRONGEST
    for number in range(setting.operations):
        choice = (drawn[f"operation{number}"] * len(OPERATIONS)).to(torch.int64)
        sign = 2 * drawn[f"sign{number}"] - 1
        images = _move(images, choice, strength * sign)
        for place, (name, change) in enumerate(_CHANGES.items(), start=len(_GEOMETRIC)):
            assert OPERATIONS[place] == name  # noqa: S101  # one list, in two parts
            chosen = (choice == place)[:, None, None, None]
            images = torch.where(chosen, change(images, strength, sign), images)
    return images.clamp(0, WHITE)


def _move(images: Tensor, choice: Tensor, strength: Tensor) -> Tensor:
    """Turn, shear and shift in one pass; images whose operation is another stay as they are."""
    height, width = images.shape[1:3]

    def amount(name: str, most: float) -> Tensor:
        return strength * most * (choice == _GEOMETRIC.index(name))

    angle = amount("rotate", math.radians(30))
    one = torch.ones_like(angle)
    shear = torch.stack(
        (torch.stack((one, amount("shearX", 0.3)), dim=1), torch.stack((amount("shearY", 0.3), one), dim=1)), dim=1
    )
    turn = torch.stack(
        (torch.stack((angle.cos(), -angle.sin()), dim=1), torch.stack((angle.sin(), angle.cos()), dim=1)), dim=1
    )
    farthest = 150.0 / 331.0
    offsets = torch.stack((amount("translateX", farthest * width), amount("translateY", farthest * height)), dim=1)
    moves = (choice > _GEOMETRIC.index("identity")) & (choice < len(_GEOMETRIC))
    # To interpolate in place changes the last bits of values, and posterize rounds those that fall short down by a whole step.
    return torch.where(moves[:, None, None, None], resample(images, turn @ shear, offsets), images)


def _brighten(images: Tensor, strength: float, sign: Tensor) -> Tensor:
    return (images * _factor(strength, sign)[:, None, None, None]).clamp(0, WHITE)


def _saturate(images: Tensor, strength: float, sign: Tensor) -> Tensor:
    if images.shape[3] != len(_LUMA):
        return images
    channels = zip(images.unbind(dim=3), _LUMA, strict=True)
    gray = torch.stack([channel * share for channel, share in channels]).sum(dim=0).unsqueeze(3)
    return _blend(gray, images, _factor(strength, sign))


def _contrast(images: Tensor, strength: float, sign: Tensor) -> Tensor:
    return scale_contrast(images, _factor(strength, sign)).clamp(0, WHITE)


def _sharpen(images: Tensor, strength: float, sign: Tensor) -> Tensor:
    channels = images.shape[3]
    kernel = torch.ones(3, 3, device=images.device)
    kernel[1, 1] = 5
    kernel = (kernel / kernel.sum()).expand(channels, 1, 3, 3)
    padded = functional.pad(images.permute(0, 3, 1, 2), (1, 1, 1, 1), mode="replicate")
    smooth = functional.conv2d(padded, kernel, groups=channels).permute(0, 2, 3, 1)
    return _blend(smooth, images, _factor(strength, sign))


def _posterize(images: Tensor, strength: float, _sign: Tensor) -> Tensor:
    step = float(2 ** round(4 * strength))
    return (images / step).floor() * step


def _solarize(images: Tensor, strength: float, _sign: Tensor) -> Tensor:
    return torch.where(images >= WHITE * (1 - strength), WHITE - images, images)


def _stretch(images: Tensor, _strength: float, _sign: Tensor) -> Tensor:
    """Spread each channel over the whole range."""
    least, most = images.amin(dim=(1, 2), keepdim=True), images.amax(dim=(1, 2), keepdim=True)
    spread = torch.where(most > least, most - least, torch.ones_like(most))
    return torch.where(most > least, (images - least) / spread * WHITE, images)


def _factor(strength: float, sign: Tensor) -> Tensor:
    return 1 + 0.9 * strength * sign


def _blend(plain: Tensor, images: Tensor, factor: Tensor) -> Tensor:
    return (plain + (images - plain) * factor[:, None, None, None]).clamp(0, WHITE)


_CHANGES: dict[str, _Change] = {
    "autoContrast": _stretch,
    "brightness": _brighten,
    "color": _saturate,
    "contrast": _contrast,
    "sharpness": _sharpen,
    "posterize": _posterize,
    "solarize": _solarize,
}
OPERATIONS: tuple[str, ...] = (*_GEOMETRIC, *_CHANGES)
"""Their order is part of what a draw means."""
