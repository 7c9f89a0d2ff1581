"""The learning-rate range test (Smith 2015): rates rise exponentially from step to step, and the loss tells which is good.

The rate at which the smoothed loss falls most steeply is chosen. Pure: who trains is a parameter.
"""

import math
from collections.abc import Callable
from itertools import pairwise

from oarlock_trainer.choice import Choice

_STEPS = 100
_BELOW, _ABOVE = 1e-4, 1e3
"""The sweep goes from and to so many times the rate of the recipe."""
_SMOOTHING = 0.9
_DIVERGED = 4.0
"""Times the lowest smoothed loss so far."""
_AT_LEAST = 10
"""Steps before the sweep may end."""


def find_rate(measure: Callable[[int, float], float | None], *, usual: float) -> Choice | None:
    """Return the rate at which the loss falls fastest, or `usual` if it falls at none; None if `measure` breaks off.

    The curve holds rates and smoothed losses, up to the step at which the loss was lost.

    Args:
        measure: trains a step with a rate and returns the loss before it; None: stop at once.
        usual: the recipe's learning rate.
    """
    curve: list[tuple[float, float]] = []
    mean, lowest = 0.0, math.inf
    for step in range(_STEPS):
        rate = usual * _BELOW * (_ABOVE / _BELOW) ** (step / (_STEPS - 1))
        loss = measure(step, rate)
        if loss is None:
            return None
        mean = _SMOOTHING * mean + (1 - _SMOOTHING) * loss
        smooth = mean / (1 - _SMOOTHING ** (step + 1))
        if not math.isfinite(smooth) or (step >= _AT_LEAST and smooth > _DIVERGED * lowest):
            break
        lowest = min(lowest, smooth)
        curve.append((rate, smooth))
    return choose_rate(curve, usual=usual)


def choose_rate(curve: list[tuple[float, float]], *, usual: float) -> Choice:
    """Return the middle of the steepest descent before the lowest point; slopes are over the logarithm of the rate."""
    bottom = min(range(len(curve)), key=lambda index: curve[index][1], default=0)
    slopes = [
        ((after - before) / math.log(right / left), math.sqrt(left * right))
        for (left, before), (right, after) in pairwise(curve[: bottom + 1])
    ]
    steepest, rate = min(slopes, default=(0.0, usual))
    if steepest >= 0:
        reason = f"learningRate {usual:.3g} kept: the loss falls at no rate of the sweep"
        return Choice(value=usual, reason=reason, curve=curve)
    rate = float(f"{rate:.3g}")
    lost = f"lowest at {curve[bottom][0]:.3g}"
    reason = (
        f"learningRate {rate:.3g} chosen: the steepest descent of the loss in a sweep of {len(curve)} steps, {lost}"
    )
    return Choice(value=rate, reason=reason, curve=curve)
