"""Figures of tasks that predict one class for each sample, whatever the sample is: an image or a text."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from oarlock_trainer.losses import ClassLoss
from oarlock_trainer.tasks.classes import MOST_CLASSES_IN_MATRIX, as_matrix, count_confusion, tabulate_confusion
from oarlock_trainer.tasks.predictions import read_classes
from oarlock_trainer.tasks.task import Outputs, Tables, main_output

_TOP = 5


class ClassFigures:
    """Loss, figures and predictions from logits [N, classes]."""

    training_quantities: tuple[str, ...] = ("loss", "accuracy")

    def __init__(self, loss: ClassLoss, *, classes: int) -> None:
        self.outputs = classes
        self._loss = loss
        self._has_top = classes > _TOP
        self._has_matrix = classes <= MOST_CLASSES_IN_MATRIX
        self.tallies = 3 + (classes * classes if self._has_matrix else 0)

    def compute_loss(self, outputs: Outputs, targets: Tensor) -> Tensor:
        return self._loss.add_up(outputs, targets)

    def measure_training(self, loss: Tensor, outputs: Outputs, targets: Tensor) -> Tensor:
        predicted = main_output(outputs).argmax(dim=1)
        if targets.is_floating_point():  # mixed: as right as the share of the class that is predicted
            correct = targets.gather(1, predicted[:, None]).sum(dtype=loss.dtype)
        else:
            correct = (predicted == targets).sum(dtype=loss.dtype)
        return torch.stack((loss, correct))

    def tally(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The loss of validation is the plain cross-entropy, so that runs with different losses compare."""
        loss = functional.cross_entropy(outputs.float(), targets, reduction="sum").double()
        predicted = outputs.argmax(dim=1)
        correct = ((predicted == targets) & outputs.isfinite().all(dim=1)).sum().double()
        top = torch.zeros_like(correct)
        if self._has_top:
            top = (outputs.topk(_TOP, dim=1).indices == targets[:, None]).sum().double()
        sums = torch.stack((loss, correct, top))
        if not self._has_matrix:
            return sums
        return torch.cat((sums, count_confusion(predicted, targets, self.outputs)))

    def summarise(self, tallies: NDArray[np.float64], samples: int) -> dict[str, float]:
        loss, correct, top = (float(value) / samples for value in tallies[:3])
        figures = {"loss": loss, "accuracy": correct}
        return figures | {"topFiveAccuracy": top} if self._has_top else figures

    def tabulate(self, tallies: NDArray[np.float64]) -> Tables:
        return tabulate_confusion(as_matrix(tallies[3:])) if self._has_matrix else Tables()

    def sample_losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return functional.cross_entropy(outputs.float(), targets, reduction="none")

    def predict(self, outputs: Tensor) -> Tensor:
        """Return the probability of each class: float32 [N, classes]."""
        return read_classes(outputs)
