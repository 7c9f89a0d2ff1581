"""What all predictions of classes are judged by: the figures of training, and a confusion matrix of validation.

Rows are samples or pixels. Everything is a sum, so that it adds up over batches and ranks; figures are made at the end.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from oarlock_trainer.tasks.task import Tables

MOST_CLASSES_IN_MATRIX = 1000
"""With more, the matrix would be larger than many a model: only what is right is counted."""


def count_confusion(predicted: Tensor, classes: Tensor, count: int) -> Tensor:
    """Return float64 [count * count]: how often each true class was predicted as each class. Rows of no class are left out."""
    known = (classes >= 0) & (classes < count)
    places = torch.where(known, classes * count + predicted, torch.full_like(classes, count * count))
    return torch.bincount(places.flatten(), minlength=count * count + 1)[:-1].double()


def as_matrix(counts: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return [true, predicted] of what `count_confusion` returned."""
    side = round(len(counts) ** 0.5)
    return counts.reshape(side, side).astype(np.int64)


def tabulate_confusion(matrix: NDArray[np.int64]) -> Tables:
    """Return precision, recall, F1 and support of each class; NaN where there is nothing to divide by."""
    hits = np.diag(matrix).astype(np.float64)
    predicted, support = matrix.sum(axis=0), matrix.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        columns = {
            "precision": hits / predicted,
            "recall": hits / support,
            "f1": 2 * hits / (predicted + support),
            "support": support.astype(np.float64),
        }
    return Tables(confusion=matrix, per_class={name: column.tolist() for name, column in columns.items()})


def measure_overlap(matrix: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return intersection over union and Dice of each class; NaN for one that is neither there nor predicted."""
    hits = np.diag(matrix).astype(np.float64)
    both = (matrix.sum(axis=0) + matrix.sum(axis=1)).astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        return hits / (both - hits), 2 * hits / both


def mean_of_defined(values: NDArray[np.float64]) -> float:
    """Return the mean of what is not NaN; 0 if nothing is defined."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else 0.0
