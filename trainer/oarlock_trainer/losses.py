"""Losses over classes, by the names of the recipe. Each is a sum over samples, to be divided by their weight.

Weights of classes are part of the loss, and of the weight: so the mean is the same however the batch is divided among
processes and micro-batches. Losses of other kinds of outputs are with their tasks.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from oarlock_api.class_weights import find_unknown_classes
from oarlock_api.findings import describe_findings
from oarlock_api.v1alpha1.recipe import ClassWeights, Loss, LossName
from oarlock_trainer.errors import ConfigError

_AUXILIARY_WEIGHT = 0.3
"""Of the heads that GoogLeNet, for one, has while training (Szegedy et al. 2014)."""
_LEAST_DOUBT = 2.0**-24
"""The least that 1 - p is in float32 when it is not 0."""


class ClassLoss:
    """The loss of predicted classes: outputs are logits [N, classes]; targets classes int64 [N] or shares float [N, classes]."""

    def __init__(
        self, loss: Loss, *, classes: Sequence[str], class_counts: Sequence[int], device: torch.device
    ) -> None:
        self._loss = loss
        self._weights = weigh_classes(loss, classes=classes, counts=class_counts)
        self._on_device = None if self._weights is None else torch.from_numpy(self._weights).to(device)
        self._compute = _choose(loss)

    @property
    def class_weights(self) -> NDArray[np.float32] | None:
        """Weight of each class; None if all weigh the same."""
        return self._weights

    def add_up(self, outputs: Tensor | tuple[Tensor, ...], targets: Tensor) -> Tensor:
        """Return the sum of the losses; auxiliary heads add a share of theirs."""
        if isinstance(outputs, tuple):
            main, *others = (self._compute(head.float(), targets, self._on_device, self._loss) for head in outputs)
            return main + _AUXILIARY_WEIGHT * sum(others)
        return self._compute(outputs.float(), targets, self._on_device, self._loss)


def weigh_classes(loss: Loss, *, classes: Sequence[str], counts: Sequence[int]) -> NDArray[np.float32] | None:
    """Return a weight for each class, 1 on average over the samples; None if all weigh the same.

    Args:
        loss: the loss of the recipe.
        classes: names of the classes.
        counts: training samples of each class; of masks, pixels.

    Raises:
        ConfigError: if the recipe weighs a class that there is not.
    """
    samples = np.asarray(counts, dtype=np.float64)
    if loss.weight_by_class is not None:
        return _weigh_by_name(loss, classes, samples)
    return _balance(samples) if loss.class_weights is ClassWeights.BALANCED else None


def _weigh_by_name(loss: Loss, classes: Sequence[str], samples: NDArray[np.float64]) -> NDArray[np.float32]:
    if findings := [replace(one, path=one.path.removeprefix("spec.")) for one in find_unknown_classes(loss, classes)]:
        raise ConfigError(describe_findings(findings), remedy="write the names as the data set has them")
    named = loss.weight_by_class or {}
    weights = np.array([named.get(name, 1.0) for name in classes])
    # Losses that are divided by samples, not by their weights, would be as many times larger as the weights are.
    weights *= samples.sum() / (weights * samples).sum() if samples.any() else 1.0
    return weights.astype(np.float32)


def _balance(samples: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the inverse of each class's frequency; a class without samples weighs nothing."""
    present = samples > 0
    weights = np.zeros(len(samples))
    weights[present] = samples.sum() / (present.sum() * samples[present])
    return weights.astype(np.float32)


_Compute = Callable[[Tensor, Tensor, Tensor | None, Loss], Tensor]


def _cross_entropy(outputs: Tensor, targets: Tensor, weights: Tensor | None, loss: Loss) -> Tensor:
    return functional.cross_entropy(
        outputs, targets, weight=weights, reduction="sum", label_smoothing=loss.label_smoothing
    )


def _binary_cross_entropy(outputs: Tensor, targets: Tensor, _weights: Tensor | None, _loss: Loss) -> Tensor:
    """Each class against all others; mean over the classes."""
    shares = spread(targets, outputs.shape[1])
    return functional.binary_cross_entropy_with_logits(outputs, shares, reduction="sum") / outputs.shape[1]


def _focal(outputs: Tensor, targets: Tensor, weights: Tensor | None, loss: Loss) -> Tensor:
    """Cross-entropy times (1 - p) to the power of gamma (Lin et al. 2017)."""
    logs = outputs.log_softmax(dim=1)
    losses = -spread(targets, outputs.shape[1]) * doubt(logs) ** loss.focal_gamma * logs
    return (losses if weights is None else losses * weights).sum()


def doubt(logs: Tensor) -> Tensor:
    """Return 1 - p of the logarithms of probabilities, never quite 0: a power of less than 1 has no finite slope there."""
    return (1 - logs.exp()).clamp(min=_LEAST_DOUBT)


def spread(targets: Tensor, classes: int) -> Tensor:
    """Return the share of each class, float [N, classes], of classes or of shares."""
    return targets if targets.is_floating_point() else functional.one_hot(targets, classes).float()


_LOSSES: dict[LossName, _Compute] = {
    LossName.CROSS_ENTROPY: _cross_entropy,
    LossName.BINARY_CROSS_ENTROPY: _binary_cross_entropy,
    LossName.FOCAL: _focal,
}


def _choose(loss: Loss) -> _Compute:
    name = loss.name or LossName.CROSS_ENTROPY
    if name not in _LOSSES:
        raise ConfigError(
            f"recipe.loss.name {name.value!r} is not a loss of predicted classes",
            remedy=f"use one of {', '.join(known.value for known in _LOSSES)}",
        )
    return _LOSSES[name]
