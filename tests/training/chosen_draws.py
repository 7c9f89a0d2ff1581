"""Draws of a test's own choice instead of random ones, by the names of their columns."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from oarlock_api.v1alpha1.recipe import Augment
from oarlock_trainer.augmentation import Draws, list_columns


def choose_draws(augment: Augment, **columns: Sequence[float]) -> Tensor:
    """Return draws of as many samples as each of `columns` has values; the other columns are 0."""
    names = list(list_columns(augment))
    (samples,) = {len(values) for values in columns.values()}
    draws = np.zeros((samples, len(names)), np.float32)
    for name, values in columns.items():
        draws[:, names.index(name)] = values
    return torch.from_numpy(draws)


def draw(augment: Augment, samples: int, *, seed: int = 0) -> Tensor:
    """Return the draws that a run has."""
    return torch.from_numpy(Draws(augment, seed=seed, samples=samples).of_step(0))
