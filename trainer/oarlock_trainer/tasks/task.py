"""What a task is: everything that differs by kind of data. The loop, validation and the reports know only the protocol below.

A task owns the form of a batch, the size of the model's output, the loss, the figures with their directions, and the form of
predictions. It never communicates: every figure is a sum over the samples at hand, to be added over micro-batches and ranks,
and everything random is a function of the step, so that it does not matter who computes what.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from oarlock_trainer.models.forms import SampleForm

Outputs = Tensor | tuple[Tensor, ...]
"""What a model returns: one tensor; or, while training, the main one and those of auxiliary heads."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rows:
    """Stored samples on the device."""

    samples: Tensor
    """[N, ...], in the stored type."""
    targets: Tensor
    """[N, ...], in the stored type; classes are int64."""

    def __len__(self) -> int:
        return len(self.targets)

    def cut(self, part: slice) -> "Rows":
        return Rows(samples=self.samples[part], targets=self.targets[part])


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """This rank's rows of one step, or some rows of a validation."""

    rows: Rows
    partners: Rows | None = None
    """Another sample for each of the rows, if the task pairs them."""
    draws: Tensor | None = None
    """float32 [N, any]: what random changes the samples undergo. None: they are validated."""
    weight: float = 1.0
    """Weight in the loss of the whole global batch, not of these rows alone."""

    def split(self, parts: int) -> Iterator[tuple["Batch", bool]]:
        """Yield so many micro-batches, as even as can be, and whether each is the last.

        As many on each rank, whatever its share: a model that is spread over the ranks needs them all for each.
        """
        if parts == 1:
            yield self, True
            return
        count = len(self.rows)
        for part in range(parts):
            yield self._cut(slice(part * count // parts, (part + 1) * count // parts)), part == parts - 1

    def largest_part(self, parts: int) -> "Batch":
        """Return the last of so many micro-batches, to which no other comes up in rows."""
        count = len(self.rows)
        return self._cut(slice((parts - 1) * count // parts, count))

    def _cut(self, part: slice) -> "Batch":
        return Batch(
            rows=self.rows.cut(part),
            partners=self.partners and self.partners.cut(part),
            draws=None if self.draws is None else self.draws[part],
            weight=self.weight,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """What the model gets, and what its outputs are compared with."""

    inputs: Tensor
    targets: Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class Tables:
    """What a validation found besides its figures, for the report."""

    confusion: NDArray[np.int64] | None = None
    """[true class, predicted class]: samples; of a segmentation, pixels."""
    per_class: dict[str, list[float]] | None = None
    """Columns of the table of classes: a name, and one value for each class; NaN where it is not defined."""
    curves: dict[str, NDArray[np.float64]] | None = None
    """Curves over the threshold of a score: a name, and [points, 2]."""


class Task(Protocol):
    """One kind of learning."""

    training_quantities: tuple[str, ...]
    """Figures of every training step, the loss first, by the names that `oarlock_api.metrics` gives them after the split's."""
    form: SampleForm
    """Form of one input of the model."""
    outputs: int
    """Size of the model's last layer."""
    tallies: int
    """Length of what `tally` returns."""

    def draw(self, step: int) -> NDArray[np.float32]:
        """Return what random changes the global batch of a step undergoes: [batch size, any]."""
        ...

    def pair(self, ids: NDArray[np.int64], step: int | None) -> NDArray[np.int64] | None:
        """Return the id of another sample for each of `ids`: training samples of a step, or, with None, validation samples.

        None if samples stand alone.
        """
        ...

    def weigh(self, ids: NDArray[np.int64], step: int) -> float:
        """Return the weight in the loss of a step's training samples, by which a sum over them is divided."""
        ...

    def prepare(self, batch: Batch) -> Prepared:
        """Turn stored samples on the device into the model's input and the loss's targets."""
        ...

    def compute_loss(self, outputs: Outputs, targets: Tensor) -> Tensor:
        """Return the sum of the weighted losses that training minimises."""
        ...

    def measure_training(self, loss: Tensor, outputs: Outputs, targets: Tensor) -> Tensor:
        """Return the sums of `training_quantities` over training samples, whose loss is known already."""
        ...

    def tally(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return float64 [tallies] of validation samples: sums that may be added over batches and ranks."""
        ...

    def summarise(self, tallies: NDArray[np.float64], samples: int) -> dict[str, float]:
        """Return the figures of a whole validation, by their names after the split's; the loss first."""
        ...

    def tabulate(self, tallies: NDArray[np.float64]) -> Tables:
        """Return what else the tallies of a whole validation tell."""
        ...

    def sample_losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return float32 [N]: how wrong the model is about each validation sample."""
        ...

    def predict(self, outputs: Tensor) -> Tensor:
        """Return what the model says about each sample, in the form that predictions are written."""
        ...

    def describe_input(self) -> dict[str, Any]:
        """Return how a stored sample becomes the model's input, for those who use the exported model."""
        ...


def main_output(outputs: Outputs) -> Tensor:
    """Return the outputs without those of auxiliary heads."""
    return outputs[0] if isinstance(outputs, tuple) else outputs
