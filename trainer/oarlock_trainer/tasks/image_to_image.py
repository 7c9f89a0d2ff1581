"""Image to image: an image in, an image out. The target is another image, or, of an autoencoder, the input itself."""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from oarlock_api.run import WorkerRun
from oarlock_api.v1alpha1.recipe import Loss, LossName
from oarlock_trainer.datasets import StoredDataset
from oarlock_trainer.tasks.image_inputs import WHITE
from oarlock_trainer.tasks.image_task import ImageTask
from oarlock_trainer.tasks.predictions import read_images
from oarlock_trainer.tasks.task import Batch, Outputs, Prepared, Tables, main_output

_MOST_DECIBELS = 100.0
"""Of a perfect prediction, whose ratio would be infinite."""


class ImageToImage(ImageTask):
    """Outputs are [N, C, H, W], targets likewise from 0 to 1; a loss of the input's own values undoes noise added to it."""

    training_quantities: tuple[str, ...] = ("loss", "meanAbsoluteError")
    tallies = 3

    def __init__(self, run: WorkerRun, dataset: StoredDataset, *, device: torch.device) -> None:
        super().__init__(run, dataset, device=device)
        target = dataset.manifest.target or dataset.manifest.input
        self.outputs = target.shape[2]
        self._loss = (run.recipe.loss or Loss()).name or LossName.MSE

    def prepare(self, batch: Batch) -> Prepared:
        inputs = self._images.normalise(self._images.change(batch.rows.samples, batch.draws))
        wanted = batch.rows.targets if batch.rows.targets.ndim == batch.rows.samples.ndim else batch.rows.samples
        targets = self._images.move(wanted, batch.draws).float().div(WHITE).permute(0, 3, 1, 2)
        return Prepared(inputs=inputs, targets=targets)

    def compute_loss(self, outputs: Outputs, targets: Tensor) -> Tensor:
        return self._losses(main_output(outputs), targets).sum()

    def _losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return [N]: the mean over the values of each image."""
        values = outputs.float()
        if self._loss is LossName.BINARY_CROSS_ENTROPY:
            losses = functional.binary_cross_entropy_with_logits(values, targets, reduction="none")
        elif self._loss is LossName.L1:
            losses = functional.l1_loss(values, targets, reduction="none")
        else:
            losses = functional.mse_loss(values, targets, reduction="none")
        return losses.flatten(1).mean(dim=1)

    def measure_training(self, loss: Tensor, outputs: Outputs, targets: Tensor) -> Tensor:
        difference = (self.predict(main_output(outputs)) - targets).abs().flatten(1).mean(dim=1).sum()
        return torch.stack((loss, difference))

    def tally(self, outputs: Tensor, targets: Tensor) -> Tensor:
        difference = (self.predict(outputs) - targets).flatten(1)
        means = (self._losses(outputs, targets), difference.abs().mean(dim=1), (difference**2).mean(dim=1))
        return torch.stack([values.double().sum() for values in means])

    def summarise(self, tallies: NDArray[np.float64], samples: int) -> dict[str, float]:
        loss, absolute, squared = (float(value) / samples for value in tallies)
        # An error that is not a number has no ratio: the better of two must never be the one that is broken.
        decibels = math.nan if math.isnan(squared) else _MOST_DECIBELS
        if squared > 0:
            decibels = min(_MOST_DECIBELS, -10 * math.log10(squared))
        return {"loss": loss, "meanAbsoluteError": absolute, "peakSignalToNoise": decibels}

    def tabulate(self, tallies: NDArray[np.float64]) -> Tables:
        del tallies
        return Tables()

    def sample_losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return self._losses(outputs, targets)

    def predict(self, outputs: Tensor) -> Tensor:
        """Return the image: float32 [N, C, H, W] from 0 to 1."""
        return read_images(outputs, loss=self._loss)
