"""Segmentation: one class for each pixel of an image, judged by the overlap of what is predicted and what is there."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from oarlock_api.run import WorkerRun
from oarlock_api.v1alpha1.recipe import Loss, LossName
from oarlock_trainer.augmentation import crop_centre, move_masks
from oarlock_trainer.datasets import StoredDataset
from oarlock_trainer.datasets.columns import IGNORED_PIXEL
from oarlock_trainer.losses import doubt, weigh_classes
from oarlock_trainer.tasks.classes import (
    as_matrix,
    count_confusion,
    mean_of_defined,
    measure_overlap,
    tabulate_confusion,
)
from oarlock_trainer.tasks.image_task import ImageTask
from oarlock_trainer.tasks.predictions import read_pixels
from oarlock_trainer.tasks.task import Batch, Outputs, Prepared, Tables, main_output

_AUXILIARY_WEIGHT = 0.4
"""Of the auxiliary head of a fully convolutional network, as its authors have it."""
_SMOOTHING = 1.0
"""Pixels added to either part of a Dice coefficient, so that a class that is absent has one."""


class Segmentation(ImageTask):
    """Outputs are logits [N, classes, H, W], targets masks uint8 [N, H, W]; class 0 is the background."""

    training_quantities: tuple[str, ...] = ("loss", "pixelAccuracy")

    def __init__(self, run: WorkerRun, dataset: StoredDataset, *, device: torch.device) -> None:
        super().__init__(run, dataset, device=device)
        self.outputs = run.class_count
        self.tallies = 1 + self.outputs**2
        self._loss = run.recipe.loss or Loss()
        facts = dataset.manifest
        weights = weigh_classes(self._loss, classes=facts.classes, counts=facts.class_counts.get("train", []))
        self._weights = None if weights is None else torch.from_numpy(weights).to(device)

    def prepare(self, batch: Batch) -> Prepared:
        inputs = self._images.normalise(self._images.change(batch.rows.samples, batch.draws))
        augment, masks = self._images.augment, batch.rows.targets
        moved = crop_centre(augment, masks) if batch.draws is None else move_masks(augment, masks, batch.draws)
        return Prepared(inputs=inputs, targets=moved)

    def compute_loss(self, outputs: Outputs, targets: Tensor) -> Tensor:
        if isinstance(outputs, tuple):
            main, *others = (self._losses(head, targets).sum() for head in outputs)
            return main + _AUXILIARY_WEIGHT * sum(others)
        return self._losses(outputs, targets).sum()

    def _losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return [N]: the mean over the pixels of each image."""
        logits, name = outputs.float(), self._loss.name
        if name is LossName.DICE:
            return _dice_losses(logits, targets)
        losses = self._pixel_losses(logits, targets)
        return losses + _dice_losses(logits, targets) if name is LossName.DICE_CROSS_ENTROPY else losses

    def _pixel_losses(self, logits: Tensor, targets: Tensor) -> Tensor:
        # One row a pixel: the form over maps has no deterministic gradient on CUDA.
        rows, classes = flatten_pixels(logits), targets.long().flatten()
        if self._loss.name is LossName.FOCAL:
            losses = _focal_losses(rows, classes, self._weights, self._loss.focal_gamma)
        else:
            losses = functional.cross_entropy(
                rows,
                classes,
                weight=self._weights,
                ignore_index=IGNORED_PIXEL,
                reduction="none",
                label_smoothing=self._loss.label_smoothing,
            )
        return losses.view(len(targets), -1).mean(dim=1)

    def measure_training(self, loss: Tensor, outputs: Outputs, targets: Tensor) -> Tensor:
        """The share of right pixels is that of each image's known pixels; an image without any counts as right."""
        right = (main_output(outputs).argmax(dim=1) == targets).flatten(1).sum(dim=1)
        known = (targets != IGNORED_PIXEL).flatten(1).sum(dim=1)
        shares = torch.where(known > 0, right / known.clamp(min=1), 1.0)
        return torch.stack((loss, shares.sum(dtype=loss.dtype)))

    def tally(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The loss of validation is the plain cross-entropy, so that runs with different losses compare."""
        loss = self.sample_losses(outputs, targets).sum().double()
        counts = count_confusion(outputs.argmax(dim=1), targets.long(), self.outputs)
        return torch.cat((loss[None], counts))

    def summarise(self, tallies: NDArray[np.float64], samples: int) -> dict[str, float]:
        matrix = as_matrix(tallies[1:])
        iou, dice = measure_overlap(matrix)
        return {
            "loss": float(tallies[0]) / samples,
            "dice": mean_of_defined(dice[1:]),
            "iou": mean_of_defined(iou),
            "pixelAccuracy": float(np.trace(matrix) / max(1, matrix.sum())),
        }

    def tabulate(self, tallies: NDArray[np.float64]) -> Tables:
        matrix = as_matrix(tallies[1:])
        tables, (iou, dice) = tabulate_confusion(matrix), measure_overlap(matrix)
        return Tables(
            confusion=matrix, per_class={"dice": dice.tolist(), "iou": iou.tolist(), **(tables.per_class or {})}
        )

    def sample_losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        losses = functional.cross_entropy(
            flatten_pixels(outputs.float()), targets.long().flatten(), ignore_index=IGNORED_PIXEL, reduction="none"
        )
        return losses.view(len(targets), -1).mean(dim=1)

    def predict(self, outputs: Tensor) -> Tensor:
        """Return the class of each pixel: uint8 [N, H, W]."""
        return read_pixels(outputs)


def flatten_pixels(maps: Tensor) -> Tensor:
    """Return [N * H * W, C] of [N, C, H, W]; a view of what is channels-last."""
    return maps.permute(0, 2, 3, 1).reshape(-1, maps.shape[1])


def _focal_losses(rows: Tensor, classes: Tensor, weights: Tensor | None, gamma: float) -> Tensor:
    known = classes != IGNORED_PIXEL
    logs = rows.log_softmax(dim=1).gather(1, torch.where(known, classes, 0)[:, None])[:, 0]
    losses = -(doubt(logs) ** gamma) * logs * known
    return losses if weights is None else losses * weights[torch.where(known, classes, 0)]


def _dice_losses(logits: Tensor, targets: Tensor) -> Tensor:
    """Return [N]: one less the soft Dice coefficient of each image (Milletari et al. 2016), mean over the classes."""
    classes = logits.shape[1]
    known = (targets != IGNORED_PIXEL)[:, None].float()
    truth = torch.stack([(targets == label) for label in range(classes)], dim=1).float()
    shares = logits.softmax(dim=1) * known
    both = (shares * truth).sum(dim=(2, 3))
    either = shares.sum(dim=(2, 3)) + truth.sum(dim=(2, 3))
    return (1 - (2 * both + _SMOOTHING) / (either + _SMOOTHING)).mean(dim=1)
