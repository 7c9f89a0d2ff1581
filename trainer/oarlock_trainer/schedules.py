"""Learning-rate schedules: the rate of a step as a pure function of the step, so that there is no schedule state to save.

Percentages are of the whole run, as in DIGITS. Every schedule rises linearly from zero during its warm-up.
"""

import math
from collections.abc import Callable

from oarlock_api.v1alpha1.recipe import Schedule, ScheduleName
from oarlock_trainer.errors import ConfigError

RateFactor = Callable[[int], float]
"""The factor by which the highest learning rate is multiplied in a step, counted from 0."""


def build_schedule(schedule: Schedule, *, steps: int) -> RateFactor:
    """Return the factor of each step of a run of `steps` steps.

    Raises:
        ConfigError: if nothing computes this schedule yet.
    """
    if schedule.name not in _SHAPES:
        raise ConfigError(
            f"recipe.schedule.name {schedule.name.value!r} is not supported yet",
            remedy=f"use one of {', '.join(sorted(name.value for name in _SHAPES))}",
        )
    shape, warmup = _SHAPES[schedule.name], round(schedule.warmup_fraction * steps)

    def factor(step: int) -> float:
        rise = min(1.0, (step + 1) / (warmup + 1))
        return rise * shape(schedule, step, warmup, steps)

    return factor


def _fixed(_schedule: Schedule, _step: int, _warmup: int, _steps: int) -> float:
    return 1.0


def _cosine(schedule: Schedule, step: int, warmup: int, steps: int) -> float:
    """Fall along half a cosine from the end of the warm-up to the end of the run."""
    progress = max(0, step - warmup) / max(1, steps - warmup)
    return schedule.final_fraction + (1 - schedule.final_fraction) * 0.5 * (1 + math.cos(math.pi * progress))


def _step(schedule: Schedule, step: int, _warmup: int, steps: int) -> float:
    """Multiply by gamma each time that another `step_percent` of the run is done."""
    return schedule.gamma ** int(100 * step / steps / schedule.step_percent)


_SHAPES: dict[ScheduleName, Callable[[Schedule, int, int, int], float]] = {
    ScheduleName.COSINE: _cosine,
    ScheduleName.FIXED: _fixed,
    ScheduleName.STEP: _step,
}
