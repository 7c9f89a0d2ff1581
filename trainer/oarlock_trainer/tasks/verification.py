"""Verification: whether two images are of the same class, by the distance of their embeddings (Hadsell et al. 2006).

What a siamese model learns: it sees images one by one, the loss sees them in pairs. Half of the partners are of the same
class, drawn from (seed, step) while training, and from the sample alone while validating, so that validations compare.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from oarlock_api.run import WorkerRun
from oarlock_api.v1alpha1.recipe import Loss
from oarlock_trainer.datasets import StoredDataset, StoredSplit
from oarlock_trainer.randomness import Purpose, draw_bits
from oarlock_trainer.tasks.image_inputs import ImageInputs
from oarlock_trainer.tasks.predictions import EMBEDDING
from oarlock_trainer.tasks.task import Batch, Outputs, Prepared, Tables, main_output

_VALIDATION = 1 << 55
"""Index of the draws of validation, which no step has."""


class Verification:
    """Outputs are embeddings [2N, 16]: of N images and then of their N partners; targets are 1 for pairs of one class."""

    training_quantities: tuple[str, ...] = ("loss", "accuracy")
    outputs = EMBEDDING
    tallies = 2

    def __init__(self, run: WorkerRun, dataset: StoredDataset, *, device: torch.device) -> None:
        self._images = ImageInputs(run, dataset, device=device)
        self.form = self._images.form
        self._seed = run.recipe.seed
        self._margin = (run.recipe.loss or Loss()).margin
        self._training = _Partners(dataset.split("train"), run.class_count)
        self._validation = _Partners(dataset.split("validation"), run.class_count)

    def draw(self, step: int) -> NDArray[np.float32]:
        return self._images.draw(step)

    def pair(self, ids: NDArray[np.int64], step: int | None) -> NDArray[np.int64]:
        if step is None:
            # Drawn for all samples at once, so that a sample's partner does not depend on who asks.
            bits = draw_bits(0, Purpose.PAIRING, _VALIDATION, 2 * self._validation.count)
            return self._validation.choose(ids, bits.reshape(-1, 2)[ids])
        bits = draw_bits(self._seed, Purpose.PAIRING, step, 2 * len(ids))
        return self._training.choose(ids, bits.reshape(-1, 2))

    def weigh(self, ids: NDArray[np.int64], step: int) -> float:
        del step
        return float(len(ids))

    def prepare(self, batch: Batch) -> Prepared:
        assert batch.partners is not None  # noqa: S101  # `pair` always answers
        both = (self._images.change(rows.samples, batch.draws) for rows in (batch.rows, batch.partners))
        inputs = torch.cat([self._images.normalise(images) for images in both])
        return Prepared(inputs=inputs, targets=(batch.rows.targets == batch.partners.targets).float())

    def compute_loss(self, outputs: Outputs, targets: Tensor) -> Tensor:
        return self.sample_losses(main_output(outputs), targets).sum()

    def sample_losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        distance = _measure_distances(outputs)
        return targets * distance**2 + (1 - targets) * (self._margin - distance).clamp(min=0) ** 2

    def measure_training(self, loss: Tensor, outputs: Outputs, targets: Tensor) -> Tensor:
        return torch.stack((loss, self._count_right(main_output(outputs), targets).to(loss.dtype)))

    def tally(self, outputs: Tensor, targets: Tensor) -> Tensor:
        loss = self.sample_losses(outputs, targets).sum()
        return torch.stack((loss.double(), self._count_right(outputs, targets).double()))

    def summarise(self, tallies: NDArray[np.float64], samples: int) -> dict[str, float]:
        return {"loss": float(tallies[0]) / samples, "accuracy": float(tallies[1]) / samples}

    def tabulate(self, tallies: NDArray[np.float64]) -> Tables:
        del tallies
        return Tables()

    def predict(self, outputs: Tensor) -> Tensor:
        """Return the embeddings: float32 [N, 16]."""
        return outputs.float()

    def describe_input(self) -> dict[str, Any]:
        return self._images.description | {"sameClassBelow": self._margin / 2}

    def _count_right(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return ((_measure_distances(outputs) < self._margin / 2) == targets.bool()).sum()


def _measure_distances(outputs: Tensor) -> Tensor:
    """Return [N] of the embeddings of N images and their partners; the square root has no slope at 0, so it starts beside it."""
    first, second = outputs.float().chunk(2)
    return ((first - second) ** 2).sum(dim=1).add(1e-12).sqrt()


class _Partners:
    """The samples of one split by class, from which partners are chosen."""

    def __init__(self, split: StoredSplit, classes: int) -> None:
        self.count = len(split)
        self._labels = split.targets(np.arange(self.count)) if self.count else np.empty(0, np.int64)
        self._order = np.argsort(self._labels, kind="stable")
        self._starts = np.searchsorted(self._labels[self._order], np.arange(classes + 1))

    def choose(self, ids: NDArray[np.int64], bits: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Return a sample of the same class or of another, half and half by the lowest bit of `bits` [N, 2]."""
        labels = self._labels[ids]
        starts, ends = self._starts[labels], self._starts[labels + 1]
        same = (bits[:, 0] & np.uint64(1)).astype(bool)
        inside = starts + _below(bits[:, 1], ends - starts)
        outside = ends + _below(bits[:, 1], np.maximum(1, self.count - (ends - starts)))
        chosen: NDArray[np.int64] = self._order[np.where(same, inside, outside) % self.count]
        return chosen


def _below(bits: NDArray[np.uint64], limits: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return a number from 0 up to, not including, each limit, which is at most 2**32."""
    return ((bits >> np.uint64(32)) * limits.astype(np.uint64) >> np.uint64(32)).astype(np.int64)
