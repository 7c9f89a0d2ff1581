"""Learning-rate schedules: the rate of a step as a pure function of the step, so that there is no schedule state to save.

Here and not in the trainer, so that the command line draws the very curve that the trainer follows. Percentages are of the
whole run, as in DIGITS, whose seven schedules keep its formulae and defaults: with x the percentage of the run that is done,

    step         gamma ^ floor(x / stepPercent)         inverse      (1 + gamma x) ^ -power
    multistep    gamma ^ (stepPercents up to x)         polynomial   (1 - x / 100) ^ power
    exponential  gamma ^ x                              sigmoid      1 / (1 + exp(gamma (x - stepPercent)))

Every schedule rises linearly from zero during its warm-up; oneCycle rises as torch's OneCycleLR does. Pure.
"""

import math
from collections.abc import Callable, Mapping

from oarlock_api import former_defaults
from oarlock_api.choice_rules import build_choice_rules
from oarlock_api.former_defaults import find_unmeant
from oarlock_api.rule import Rule, Scope
from oarlock_api.v1alpha1.recipe import Schedule, ScheduleName

RateFactor = Callable[[int], float]
"""The factor by which the highest learning rate is multiplied in a step, counted from 0."""

_WARMUP = {"warmupFraction": 0.05}
_ONE_CYCLE_START = 1 / 25
"""Factor of the first step of oneCycle, as in torch."""

SCHEDULES: Mapping[ScheduleName, Mapping[str, float | list[float]]] = {
    ScheduleName.COSINE: {**_WARMUP, "finalFraction": 0.0},
    ScheduleName.ONE_CYCLE: {"warmupFraction": 0.3, "finalFraction": _ONE_CYCLE_START / 1e4},
    ScheduleName.FIXED: _WARMUP,
    ScheduleName.STEP: {**_WARMUP, "stepPercent": 33.0, "gamma": 0.1},
    ScheduleName.MULTISTEP: {**_WARMUP, "stepPercents": [50.0, 85.0], "gamma": 0.5},
    ScheduleName.EXPONENTIAL: {**_WARMUP, "gamma": 0.95},
    ScheduleName.INVERSE: {**_WARMUP, "gamma": 0.1, "power": 0.5},
    ScheduleName.POLYNOMIAL: {**_WARMUP, "power": 3.0},
    ScheduleName.SIGMOID: {**_WARMUP, "stepPercent": 50.0, "gamma": 0.1},
}
"""The parameters of each schedule with their defaults, by their names on the wire."""
_FIELDS = {name: field.alias or name for name, field in Schedule.model_fields.items()}


def resolve_schedule(schedule: Schedule) -> Schedule:
    """Return the schedule with every parameter that it has filled in, and none that it has not."""
    defaults = SCHEDULES[schedule.name]
    unmeant = find_unmeant(schedule.to_wire(), former_defaults.SCHEDULE, defaults)
    absent = {
        name: defaults.get(field)
        for name, field in _FIELDS.items()
        if field in unmeant or (field in defaults and getattr(schedule, name) is None)
    }
    return schedule.model_copy(update=absent)


def build_schedule(schedule: Schedule, *, steps: int) -> RateFactor:
    """Return the factor of each step of a run of `steps` steps, 0 to 1."""
    resolved = resolve_schedule(schedule)
    if schedule.name is ScheduleName.ONE_CYCLE:
        return lambda step: _one_cycle(resolved, step, steps)
    shape, warmup = _SHAPES[schedule.name], round((resolved.warmup_fraction or 0.0) * steps)

    def factor(step: int) -> float:
        # During the warm-up the schedule stands where it will be afterwards, so that the rate rises.
        rise = min(1.0, (step + 1) / (warmup + 1))
        return rise * shape(resolved, max(step, warmup), warmup, steps)

    return factor


def _fixed(_schedule: Schedule, _step: int, _warmup: int, _steps: int) -> float:
    return 1.0


def _cosine(schedule: Schedule, step: int, warmup: int, steps: int) -> float:
    """Fall along half a cosine from the end of the warm-up to the end of the run."""
    progress = min(1.0, (step - warmup) / max(1, steps - warmup))
    return _fall(1.0, schedule.final_fraction or 0.0, progress)


def _one_cycle(schedule: Schedule, step: int, steps: int) -> float:
    """Rise along half a cosine until the warm-up ends and fall along another; the ends are those of torch's OneCycleLR."""
    top, last = (schedule.warmup_fraction or 0.0) * steps - 1, steps - 1
    if step <= top:
        return _fall(_ONE_CYCLE_START, 1.0, step / top if top > 0 else 1.0)
    return _fall(1.0, schedule.final_fraction or 0.0, min(1.0, (step - top) / max(1e-9, last - top)))


def _fall(start: float, end: float, progress: float) -> float:
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * progress))


def _step(schedule: Schedule, step: int, _warmup: int, steps: int) -> float:
    return _power(schedule, int(_percent(step, steps) / (schedule.step_percent or 100.0)))


def _multistep(schedule: Schedule, step: int, _warmup: int, steps: int) -> float:
    done = _percent(step, steps)
    return _power(schedule, sum(done >= percent for percent in schedule.step_percents or ()))


def _exponential(schedule: Schedule, step: int, _warmup: int, steps: int) -> float:
    return _power(schedule, _percent(step, steps))


def _inverse(schedule: Schedule, step: int, _warmup: int, steps: int) -> float:
    return math.pow(1 + _gamma(schedule) * _percent(step, steps), -(schedule.power or 0.0))


def _polynomial(schedule: Schedule, step: int, _warmup: int, steps: int) -> float:
    return math.pow(max(0.0, 1 - step / steps), schedule.power or 0.0)


def _sigmoid(schedule: Schedule, step: int, _warmup: int, steps: int) -> float:
    past = _gamma(schedule) * (_percent(step, steps) - (schedule.step_percent or 0.0))
    return 0.5 * (1 - math.tanh(past / 2))  # The same, without the overflow of exp.


def _power(schedule: Schedule, exponent: float) -> float:
    return math.pow(_gamma(schedule), exponent)


def _percent(step: int, steps: int) -> float:
    return 100 * step / steps


def _gamma(schedule: Schedule) -> float:
    return 1.0 if schedule.gamma is None else schedule.gamma


_SHAPES: Mapping[ScheduleName, Callable[[Schedule, int, int, int], float]] = {
    ScheduleName.COSINE: _cosine,
    ScheduleName.FIXED: _fixed,
    ScheduleName.STEP: _step,
    ScheduleName.MULTISTEP: _multistep,
    ScheduleName.EXPONENTIAL: _exponential,
    ScheduleName.INVERSE: _inverse,
    ScheduleName.POLYNOMIAL: _polynomial,
    ScheduleName.SIGMOID: _sigmoid,
}


def _grows(schedule: Scope) -> str | None:
    name, gamma = schedule.get("name"), schedule.get("gamma")
    grows = isinstance(gamma, int | float) and gamma > 1
    return f"gamma {gamma} with {name}" if grows and name in _POWERS_OF_GAMMA else None


_POWERS_OF_GAMMA = ("step", "multistep", "exponential")

SCHEDULE_RULES: tuple[Rule, ...] = (
    *build_choice_rules(
        "spec.recipe.schedule",
        default="cosine",
        choices={str(name): own for name, own in SCHEDULES.items()},
        former=former_defaults.SCHEDULE,
    ),
    Rule(
        at="spec.recipe.schedule",
        cel="!has(self.gamma) || !has(self.name) || !(self.name in ['step', 'multistep', 'exponential'])"
        " || self.gamma <= 1.0",
        broken=_grows,
        rule="must have gamma at most 1 for step, multistep and exponential: the rate is multiplied by it again and again",
        remedy="lower gamma",
    ),
)
