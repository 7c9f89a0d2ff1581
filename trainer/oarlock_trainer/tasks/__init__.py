"""Tasks: what differs by kind of data. The loop, validation and the reports know only the protocol below.

A task owns the form of a batch, the size of the model's output, the loss, the figures with their directions, and the form of
predictions. It never communicates: every figure is a sum over the samples at hand, to be added over micro-batches and ranks.
"""

from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from oarlock_api.run import WorkerRun
from oarlock_api.v1alpha1.dataset import Task as TaskName
from oarlock_trainer.datasets import StoredDataset
from oarlock_trainer.errors import ConfigError
from oarlock_trainer.tasks.image_classification import ImageClassification


class Task(Protocol):
    """One kind of learning."""

    quantities: tuple[str, ...]
    """Figures measured on a split, the loss first, by the names that `oarlock_api.metrics` gives them after the split's."""
    outputs: int
    """Size of the model's last layer."""

    def draw(self, step: int) -> NDArray[np.int64]:
        """Return what random changes the global batch of a step undergoes: [batch size, any]."""
        ...

    def weigh(self, ids: NDArray[np.int64]) -> float:
        """Return the weight in the loss of these training samples, by which a sum over them is divided."""
        ...

    def prepare(self, samples: Tensor, draws: Tensor | None) -> Tensor:
        """Turn stored samples on the device into the model's input, changed by `draws` when training."""
        ...

    def compute_loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the sum of the weighted losses that training minimises."""
        ...

    def measure(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the sums of `quantities` over validation samples: [len(quantities)]."""
        ...

    def measure_training(self, loss: Tensor, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the sums of `quantities` over training samples, whose loss is known already."""
        ...

    def predict(self, outputs: Tensor) -> Tensor:
        """Return what the model says about each sample, in the form that predictions are written."""
        ...

    def describe_input(self) -> dict[str, object]:
        """Return how a stored sample becomes the model's input, for those who use the exported model."""
        ...


def build_task(run: WorkerRun, dataset: StoredDataset, *, device: torch.device) -> Task:
    """Return the run's task.

    Raises:
        ConfigError: if nothing implements it yet.
    """
    if run.task is not TaskName.IMAGE_CLASSIFICATION:
        raise ConfigError(f"task {run.task.value!r} is not supported yet", remedy="use imageClassification")
    return ImageClassification(run, dataset, device=device)
