"""Text classification: rows of tokens in, one class each out."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from oarlock_api.run import WorkerRun
from oarlock_api.v1alpha1.recipe import Loss
from oarlock_trainer.datasets import StoredDataset
from oarlock_trainer.losses import ClassLoss
from oarlock_trainer.models.forms import SampleForm
from oarlock_trainer.tasks.class_figures import ClassFigures
from oarlock_trainer.tasks.task import Batch, Prepared

_WORD = 1 << 16


class TextClassification(ClassFigures):
    """One label for each text; inputs of the model are int64 [N, length], 0 being padding and 1 an unknown token."""

    def __init__(self, run: WorkerRun, dataset: StoredDataset, *, device: torch.device) -> None:
        facts = dataset.manifest
        loss = ClassLoss(
            run.recipe.loss or Loss(),
            classes=facts.classes,
            class_counts=facts.class_counts.get("train", []),
            device=device,
        )
        super().__init__(loss, classes=run.class_count)
        self.form = SampleForm(shape=tuple(run.sample_shape), vocabulary=run.vocabulary_size or 0)
        self._samples, self._weights = run.recipe.batch_size or 1, loss.class_weights
        self._labels = dataset.split("train").targets

    def draw(self, step: int) -> NDArray[np.float32]:
        """Texts undergo no random changes."""
        del step
        return np.empty((self._samples, 0), dtype=np.float32)

    def pair(self, ids: NDArray[np.int64], step: int | None) -> NDArray[np.int64] | None:
        del ids, step
        return None

    def weigh(self, ids: NDArray[np.int64], step: int) -> float:
        del step
        return float(len(ids)) if self._weights is None else float(self._weights[self._labels(ids)].sum())

    def prepare(self, batch: Batch) -> Prepared:
        return Prepared(inputs=read_tokens(batch.rows.samples), targets=batch.rows.targets)

    def describe_input(self) -> dict[str, Any]:
        return {"layout": "NL", "length": self.form.shape[0], "vocabulary": self.form.vocabulary}


def read_tokens(stored: Tensor) -> Tensor:
    """Return int64 [N, length] of tokens, which come as int16 with the bits of uint16."""
    return stored.to(torch.int64).remainder(_WORD)
