"""The learning-rate range test (Smith 2015): rates rise exponentially from step to step, and the loss tells which is good.

The rate at which the smoothed loss falls most steeply is chosen, where the curve says anything: on little data its lowest point
is a lucky batch right beside the steepest one. Pure: who trains is a parameter.
"""

import math
import statistics
from collections.abc import Callable
from itertools import pairwise

from oarlock_trainer.choice import Choice

_STEPS = 100
_BELOW, _ABOVE = 1e-4, 1e3
"""The sweep goes from and to so many times the rate of the recipe."""
_SMOOTHING = 0.9
_NORMAL_MEDIAN = 0.6745
"""Median distance from the mean of a normal distribution, in standard deviations."""
_DIVERGED = 4.0
"""Times the lowest smoothed loss so far."""
_AT_LEAST = 10
"""Steps before the sweep may end."""
_APART = 3.0
"""Times the steepest rate, from which on the lowest point is one of a descent and not of a single step."""
_CLEAR = 2.0
"""Standard deviations of a single loss that a descent must exceed: in a lower one, the steepest place is anywhere."""


def find_rate(measure: Callable[[int, float], float | None], *, usual: float) -> Choice | None:
    """Return the rate at which the loss falls fastest, or `usual` if it falls at none; None if `measure` breaks off.

    The curve holds rates and smoothed losses, up to the step at which the loss was lost.

    Args:
        measure: trains a step with a rate and returns the loss before it; None: stop at once.
        usual: the recipe's learning rate.
    """
    curve: list[tuple[float, float]] = []
    losses: list[float] = []
    mean, lowest = 0.0, math.inf
    for step in range(_STEPS):
        rate = usual * _BELOW * (_ABOVE / _BELOW) ** (step / (_STEPS - 1))
        loss = measure(step, rate)
        if loss is None:
            return None
        losses.append(loss)
        mean = _SMOOTHING * mean + (1 - _SMOOTHING) * loss
        smooth = mean / (1 - _SMOOTHING ** (step + 1))
        if not math.isfinite(smooth) or (step >= _AT_LEAST and smooth > _DIVERGED * lowest):
            break
        lowest = min(lowest, smooth)
        curve.append((rate, smooth))
    return choose_rate(curve, usual=usual, noise=_estimate_noise(losses[: len(curve)]))


def _estimate_noise(losses: list[float]) -> float:
    """Return the standard deviation of single losses, by the median of what they change from one to the next."""
    changes = [abs(after - before) for before, after in pairwise(losses)]
    return statistics.median(changes) / (_NORMAL_MEDIAN * math.sqrt(2)) if changes else 0.0


def choose_rate(curve: list[tuple[float, float]], *, usual: float, noise: float = 0.0) -> Choice:
    """Return the middle of the steepest descent before the lowest point; slopes are over the logarithm of the rate.

    Args:
        curve: rates and smoothed losses.
        usual: the rate that is kept if the curve says nothing.
        noise: standard deviation of the losses before they were smoothed.
    """
    bottom = min(range(len(curve)), key=lambda index: curve[index][1], default=0)
    descent = curve[min(bottom, _AT_LEAST - 1) : bottom + 1]  # the first means are those of few losses, and as noisy
    slopes = [
        ((after - before) / math.log(right / left), math.sqrt(left * right))
        for (left, before), (right, after) in pairwise(descent)
    ]
    steepest, rate = min(slopes, default=(0.0, usual))
    if steepest >= 0:
        reason = f"learningRate {usual:.3g} kept: the loss falls at no rate of the sweep"
        return Choice(value=usual, reason=reason, curve=curve)
    rate = float(f"{rate:.3g}")
    lost = f"lowest at {curve[bottom][0]:.3g}"
    depth = max(loss for _, loss in descent) - curve[bottom][1]
    if doubt := _find_doubt(depth=depth, noise=noise, apart=curve[bottom][0] / rate):
        reason = f"learningRate {usual:.3g} kept: the sweep says nothing, since {doubt}: steepest at {rate:.3g}, {lost}"
        return Choice(value=usual, reason=reason, curve=curve)
    reason = (
        f"learningRate {rate:.3g} chosen: the steepest descent of the loss in a sweep of {len(curve)} steps, {lost}"
    )
    return Choice(value=rate, reason=reason, curve=curve)


def _find_doubt(*, depth: float, noise: float, apart: float) -> str:
    """Return why a descent is none that a rate can be told from; empty as a rule."""
    if depth <= _CLEAR * noise:
        return f"the loss falls by {depth:.2g}, and a single one varies by {noise:.2g}"
    if apart < _APART:
        return "its steepest descent ends in its lowest point"
    return ""
