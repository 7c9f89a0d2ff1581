"""Stored images as the input of a model: augmented while training, cropped, normalised. Shared by all tasks on images."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from oarlock_api.run import WorkerRun
from oarlock_api.v1alpha1.recipe import MeanSubtraction
from oarlock_trainer.augmentation import Draws, apply_augmentation, crop_centre, move_images
from oarlock_trainer.datasets import StoredDataset
from oarlock_trainer.models.forms import SampleForm

WHITE = 255.0
_LEAST_DEVIATION = 1.0
"""Channels that hardly vary are not blown up."""


class ImageInputs:
    """Turns uint8 images [N, H, W, C] into float32 [N, C, H, W], which is channels-last in memory."""

    def __init__(self, run: WorkerRun, dataset: StoredDataset, *, device: torch.device) -> None:
        recipe = run.recipe
        self.augment = recipe.augment
        self._draws = Draws(self.augment, seed=recipe.seed, samples=recipe.batch_size or 1)
        height, width, channels = run.sample_shape
        crop = self.augment.crop
        shape = (crop, crop, channels) if crop else (height, width, channels)
        self.form = SampleForm(shape=shape)
        """Of the model's input."""
        mean, deviation = _compute_normalisation(recipe.mean_subtraction, dataset)
        mean = np.broadcast_to(mean, (height, width, channels))
        # As long as a whole image: with channels last, a value for each channel would be spread out pixel by pixel.
        self._mean = crop_centre(self.augment, torch.from_numpy(mean.copy())[None])[0].to(device)
        self._inverse_deviation = torch.from_numpy(np.broadcast_to(1.0 / deviation, shape).copy()).to(device)
        subtracts_image = recipe.mean_subtraction is MeanSubtraction.IMAGE
        self.description: dict[str, Any] = {
            "layout": "NCHW",
            "channels": {1: "gray", 3: "rgb"}.get(channels, str(channels)),
            "range": [0, int(WHITE)],
            "crop": crop,
            "subtract": "mean-image.npy" if subtracts_image else mean[0, 0].tolist(),
            "divide": deviation.flatten().tolist(),
            "whiten": self.augment.whitening,
        }

    def draw(self, step: int) -> NDArray[np.float32]:
        return self._draws.of_step(step)

    def change(self, images: Tensor, draws: Tensor | None) -> Tensor:
        """Return the images, uint8 or float, as `draws` change them; without draws, their centre."""
        return crop_centre(self.augment, images) if draws is None else apply_augmentation(self.augment, images, draws)

    def move(self, images: Tensor, draws: Tensor | None) -> Tensor:
        """Return images whose pixels are moved likewise, but whose values stay."""
        return crop_centre(self.augment, images) if draws is None else move_images(self.augment, images, draws)

    def normalise(self, images: Tensor) -> Tensor:
        """Return images [N, H, W, C] from 0 to 255 as the model wants them."""
        if self.augment.whitening:
            return whiten(images.float()).permute(0, 3, 1, 2)
        # A copy even of what is float already: the images may be used again.
        return images.to(torch.float32, copy=True).sub_(self._mean).mul_(self._inverse_deviation).permute(0, 3, 1, 2)


def whiten(images: Tensor) -> Tensor:
    """Standardise each image [N, H, W, C] by its own mean and deviation; one of a single colour becomes zero."""
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    deviation = images.std(dim=(1, 2, 3), keepdim=True, correction=0)
    return (images - mean) / deviation.clamp(min=_LEAST_DEVIATION)


def _compute_normalisation(
    subtraction: MeanSubtraction, dataset: StoredDataset
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return what is subtracted from an image and what it is divided by, both broadcast over [H, W, C]."""
    channels = dataset.manifest.sample_shape[2]
    if subtraction is MeanSubtraction.NONE:
        return np.zeros((1, 1, channels), np.float32), np.full((1, 1, channels), WHITE, np.float32)
    deviation = np.maximum(np.array(dataset.manifest.std, np.float32), _LEAST_DEVIATION).reshape(1, 1, channels)
    if subtraction is MeanSubtraction.IMAGE:
        return dataset.mean_image(), deviation
    return np.array(dataset.manifest.mean, np.float32).reshape(1, 1, channels), deviation
