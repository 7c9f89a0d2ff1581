"""Moving the pixels of training images, and masks and boxes with them: windows, mirrors, quarter turns, turns by any angle.

Images are uint8 [N, H, W, C] as long as pixels stay whole, so that most augmentations cost little; only turns by any angle and
changes of size go through interpolation.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

from oarlock_api.v1alpha1.recipe import Augment, Flip, QuadRotation
from oarlock_trainer.augmentation.draws import Drawn


def move_whole_pixels(augment: Augment, images: Tensor, drawn: Drawn, *, fill: int = 0) -> Tensor:
    """Mirror, shift, crop and turn by quarters, in this order; what a shift uncovers becomes `fill`.

    Args:
        images: [N, H, W, C] of a one-byte type.
        fill: value of what is uncovered.
    """
    if augment.flip is not Flip.NONE:
        images = _mirror(images, drawn["mirroredDown"], dim=1)
        images = _mirror(images, drawn["mirroredRight"], dim=2)
    if augment.shift or augment.crop:
        images = _take_windows(augment, images, drawn, fill=fill)
    if augment.quad_rotation is not QuadRotation.NONE:
        images = _turn_quarters(images, draw_quarters(augment, drawn))
    return images


def draw_quarters(augment: Augment, drawn: Drawn) -> Tensor:
    """Return int64 [N]: counter-clockwise quarter turns of each image."""
    # Arithmetic instead of a table: a table would be copied to the GPU at every step, and the host would wait for it.
    if augment.quad_rotation is QuadRotation.TURN_180:
        return 2 * (drawn["quarters"] * 2).to(torch.int64)
    if augment.quad_rotation is QuadRotation.ALL:
        return (drawn["quarters"] * 4).to(torch.int64)
    third = (drawn["quarters"] * 3).to(torch.int64)
    return third + (third == 2)  # noqa: PLR2004  # 0, 1 or 3 quarters


def draw_window(augment: Augment, drawn: Drawn, height: int, width: int) -> tuple[Tensor, Tensor, int, int]:
    """Return where each image's window begins, int64 [N] down and right, and its height and width."""
    down, right = -drawn.whole("down"), -drawn.whole("right")
    if augment.crop is None:
        return down, right, height, width
    down = down + (drawn["cropTop"] * (height - augment.crop + 1)).to(torch.int64)
    right = right + (drawn["cropLeft"] * (width - augment.crop + 1)).to(torch.int64)
    return down, right, augment.crop, augment.crop


def crop_centre(augment: Augment, images: Tensor) -> Tensor:
    """Return the window [N, crop, crop, ...] that validation sees of images [N, H, W, ...]."""
    if augment.crop is None:
        return images
    top, left = (images.shape[1] - augment.crop) // 2, (images.shape[2] - augment.crop) // 2
    return images[:, top : top + augment.crop, left : left + augment.crop]


def _take_windows(augment: Augment, images: Tensor, drawn: Drawn, *, fill: int) -> Tensor:
    """Cut a window out of each padded image with one gather of whole rows.

    The padded batch is seen as all runs of consecutive bytes as long as a row of a window; each row of the result is one.
    """
    samples, height, width, channels = images.shape
    top, left, rows, columns = draw_window(augment, drawn, height, width)
    pad = augment.shift
    padded = functional.pad(images, (0, 0, pad, pad, pad, pad), value=fill).view(-1)
    run, stride = columns * channels, (width + 2 * pad) * channels
    runs = padded.as_strided((padded.numel() - run + 1, run), (1, 1))
    first_rows = torch.arange(samples, device=images.device) * (height + 2 * pad) + pad + top
    starts = (first_rows[:, None] + torch.arange(rows, device=images.device)) * stride
    starts = starts + (pad + left)[:, None] * channels
    return runs.index_select(0, starts.view(-1)).view(samples, rows, columns, channels)


def _mirror(images: Tensor, chosen: Tensor, *, dim: int) -> Tensor:
    return torch.where(chosen.bool()[:, None, None, None], images.flip(dim), images)


def _turn_quarters(images: Tensor, quarters: Tensor) -> Tensor:
    turned = images
    for quarter in (1, 2, 3):
        if quarter == 2 or images.shape[1] == images.shape[2]:  # noqa: PLR2004  # half a turn fits any shape
            chosen = (quarters == quarter)[:, None, None, None]
            turned = torch.where(chosen, torch.rot90(images, quarter, (1, 2)), turned)
    return turned


def needs_interpolation(augment: Augment) -> bool:
    """Say whether images are turned by any angle or change their size."""
    return bool(augment.rotation or augment.rescale)


def turn_and_scale(augment: Augment, drawn: Drawn) -> Tensor:
    """Return float32 [N, 2, 2]: where, from the centre, the pixel at a place of the result comes from."""
    some = drawn["down"]
    angle = torch.zeros_like(some)
    scale = torch.ones_like(some)
    if augment.rotation:
        angle = (2 * drawn["angle"] - 1) * math.radians(augment.rotation)
    if augment.rescale:
        scale = draw_scale(augment, drawn)
    cosine, sine = angle.cos() / scale, angle.sin() / scale
    return torch.stack((torch.stack((cosine, -sine), dim=1), torch.stack((sine, cosine), dim=1)), dim=1)


def draw_scale(augment: Augment, drawn: Drawn) -> Tensor:
    """Return float32 [N]: the factor by which each image is enlarged, at least one fifth."""
    return (1 + augment.rescale * drawn["scale"]).clamp_(min=0.2)


def resample(images: Tensor, matrices: Tensor, offsets: Tensor | None = None, *, nearest: bool = False) -> Tensor:
    """Take every pixel of float images [N, H, W, C] from where `matrices` [N, 2, 2] say, black from outside.

    Matrices are in pixels, not in the shares of a side that torch uses, so that a turn keeps angles in images that are not
    square. `offsets` [N, 2], right and down in pixels, are where the centre comes from.
    """
    height, width = images.shape[1:3]
    (across, sheared), (tilted, down) = (row.unbind(dim=1) for row in matrices.unbind(dim=1))
    right, below = (torch.zeros_like(across),) * 2 if offsets is None else offsets.unbind(dim=1)
    rows = (
        torch.stack((across, sheared * (height / width), right * (2 / width)), dim=1),
        torch.stack((tilted * (width / height), down, below * (2 / height)), dim=1),
    )
    grid = functional.affine_grid(torch.stack(rows, dim=1), [len(images), 1, height, width], align_corners=False)
    moved = functional.grid_sample(
        images.permute(0, 3, 1, 2), grid, mode="nearest" if nearest else "bilinear", align_corners=False
    )
    return moved.permute(0, 2, 3, 1)
