"""Random changes to training samples, applied on the device to whole batches; masks and boxes move with their images.

What happens to each sample is drawn on the host for the global batch from (seed, step): see `draws`. Nothing here keeps state.
"""

import torch
from torch import Tensor

from oarlock_api.v1alpha1.recipe import Augment
from oarlock_trainer.augmentation.boxes import move_boxes
from oarlock_trainer.augmentation.draws import Drawn, Draws, list_columns
from oarlock_trainer.augmentation.geometry import (
    crop_centre,
    move_whole_pixels,
    needs_interpolation,
    resample,
    turn_and_scale,
)
from oarlock_trainer.augmentation.photometry import change_values, changes_values
from oarlock_trainer.augmentation.rand_augment import rand_augment
from oarlock_trainer.datasets.columns import IGNORED_PIXEL

__all__ = [
    "Draws",
    "apply_augmentation",
    "crop_centre",
    "list_columns",
    "move_boxes",
    "move_images",
    "move_masks",
]


def apply_augmentation(augment: Augment, images: Tensor, draws: Tensor) -> Tensor:
    """Change uint8 images [N, H, W, C] as `draws` [N, columns] say: uint8, or float32 from 0 to 255, of the crop's size."""
    images = move_images(augment, images, draws)
    drawn = Drawn(augment, draws)
    if changes_values(augment):
        images = change_values(augment, images.float(), drawn)
    if augment.rand_augment:
        images = rand_augment(augment.rand_augment, images.float(), drawn)
    return images


def move_images(augment: Augment, images: Tensor, draws: Tensor) -> Tensor:
    """Do of all changes only those that move pixels; uint8 as long as that needs no interpolation."""
    drawn = Drawn(augment, draws)
    images = move_whole_pixels(augment, images, drawn)
    return resample(images.float(), turn_and_scale(augment, drawn)) if needs_interpolation(augment) else images


def move_masks(augment: Augment, masks: Tensor, draws: Tensor) -> Tensor:
    """Move uint8 masks [N, H, W] as their images move; what is uncovered is ignored."""
    drawn = Drawn(augment, draws)
    masks = move_whole_pixels(augment, masks.unsqueeze(3), drawn, fill=IGNORED_PIXEL)
    if needs_interpolation(augment):
        # What comes from outside reads as 0, so the classes are counted from 1 on the way.
        found = resample(masks.float() + 1, turn_and_scale(augment, drawn), nearest=True)
        masks = torch.where(found > 0, found - 1, torch.full_like(found, IGNORED_PIXEL)).to(torch.uint8)
    return masks.squeeze(3)
