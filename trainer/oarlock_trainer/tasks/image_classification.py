"""Image classification: uint8 images in, one class each out, cross-entropy between them."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from oarlock_api.run import WorkerRun
from oarlock_api.v1alpha1.recipe import ClassWeights, Loss, LossName, MeanSubtraction
from oarlock_trainer.augment import Draws, apply_augmentation
from oarlock_trainer.datasets import StoredDataset
from oarlock_trainer.errors import ConfigError

_WHITE = 255.0
_LEAST_DEVIATION = 1.0
"""Channels that hardly vary are not blown up."""


class ImageClassification:
    """One label for each image."""

    quantities: tuple[str, ...] = ("loss", "accuracy")

    def __init__(self, run: WorkerRun, dataset: StoredDataset, *, device: torch.device) -> None:
        self.outputs = run.class_count
        self._augment = run.recipe.augment
        self._draws = Draws(self._augment, seed=run.recipe.seed, samples=run.recipe.batch_size or 1)
        self._label_smoothing = _check_loss(run.recipe.loss or Loss()).label_smoothing
        self._subtraction = run.recipe.mean_subtraction
        mean, deviation = _compute_normalisation(self._subtraction, dataset)
        # As long as a whole image: with channels last, a value for each channel would be spread out pixel by pixel.
        shape = tuple(run.sample_shape)
        self._mean = torch.from_numpy(np.broadcast_to(mean, shape).copy()).to(device)
        self._inverse_deviation = torch.from_numpy(np.broadcast_to(1.0 / deviation, shape).copy()).to(device)
        self._description: dict[str, object] = {
            "layout": "NCHW",
            "channels": {1: "gray", 3: "rgb"}.get(run.sample_shape[2], str(run.sample_shape[2])),
            "range": [0, int(_WHITE)],
            "subtract": "mean-image.npy" if self._subtraction is MeanSubtraction.IMAGE else mean.flatten().tolist(),
            "divide": deviation.flatten().tolist(),
        }

    def draw(self, step: int) -> NDArray[np.int64]:
        return self._draws.of_step(step)

    def weigh(self, ids: NDArray[np.int64]) -> float:
        return float(len(ids))

    def prepare(self, samples: Tensor, draws: Tensor | None) -> Tensor:
        """Turn uint8 [N, H, W, C] into normalised float32 [N, C, H, W], which is channels-last in memory."""
        if draws is not None:
            samples = apply_augmentation(self._augment, samples, draws)
        return samples.float().sub_(self._mean).mul_(self._inverse_deviation).permute(0, 3, 1, 2)

    def compute_loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return functional.cross_entropy(
            outputs.float(), targets, reduction="sum", label_smoothing=self._label_smoothing
        )

    def measure(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The loss of validation is the plain cross-entropy, so that runs with different smoothing compare."""
        loss = functional.cross_entropy(outputs.float(), targets, reduction="sum")
        return self.measure_training(loss, outputs, targets)

    def measure_training(self, loss: Tensor, outputs: Tensor, targets: Tensor) -> Tensor:
        correct = (outputs.argmax(dim=1) == targets).sum(dtype=loss.dtype)
        return torch.stack((loss, correct))

    def predict(self, outputs: Tensor) -> Tensor:
        """Return the probability of each class: float32 [N, classes]."""
        return outputs.float().softmax(dim=1)

    def describe_input(self) -> dict[str, object]:
        return self._description


def _check_loss(loss: Loss) -> Loss:
    if loss.name is not LossName.CROSS_ENTROPY:
        raise ConfigError(f"recipe.loss.name {loss.name.value!r} is not supported yet", remedy="use crossEntropy")
    if loss.class_weights is not ClassWeights.NONE:
        raise ConfigError(
            f"recipe.loss.classWeights {loss.class_weights.value!r} is not supported yet", remedy="use none"
        )
    return loss


def _compute_normalisation(
    subtraction: MeanSubtraction, dataset: StoredDataset
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return what is subtracted from an image and what it is divided by, both broadcast over [H, W, C]."""
    channels = dataset.manifest.sample_shape[2]
    if subtraction is MeanSubtraction.NONE:
        return np.zeros((1, 1, channels), np.float32), np.full((1, 1, channels), _WHITE, np.float32)
    deviation = np.maximum(np.array(dataset.manifest.std, np.float32), _LEAST_DEVIATION).reshape(1, 1, channels)
    if subtraction is MeanSubtraction.IMAGE:
        return dataset.mean_image(), deviation
    return np.array(dataset.manifest.mean, np.float32).reshape(1, 1, channels), deviation
