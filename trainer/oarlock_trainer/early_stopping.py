"""Ends a run that no longer improves: by the figures of its validations, which all ranks have and every checkpoint counts.

So all ranks stop at the same step, and so does a run that was interrupted. Pure.
"""

import math
from collections.abc import Mapping, MutableMapping

from oarlock_api.metrics import is_better
from oarlock_api.v1alpha1.recipe import EarlyStop

_BEST, _BEST_STEP, _SINCE = "earlyStop/best", "earlyStop/bestStep", "earlyStop/validationsSince"


def count_validation(
    rule: EarlyStop | None, counters: MutableMapping[str, float], step: int, metrics: Mapping[str, float]
) -> None:
    """Take up a validation's metrics, by their names in the table; one that is not finite is no improvement."""
    if rule is None:
        return
    name = str(rule.metric)
    value, best = metrics[name], counters.get(_BEST)
    if math.isfinite(value) and (best is None or is_better(name, value, best)):
        counters.update({_BEST: value, _BEST_STEP: step, _SINCE: 0})
    else:
        counters[_SINCE] = counters.get(_SINCE, 0) + 1


def has_stopped_improving(rule: EarlyStop | None, counters: Mapping[str, float]) -> bool:
    """Say whether the run is to end."""
    return rule is not None and counters.get(_SINCE, 0) >= rule.patience_validations


def describe_patience(rule: EarlyStop | None, counters: Mapping[str, float]) -> str:
    """Say how near the end is; empty while the last validation was an improvement."""
    since = int(counters.get(_SINCE, 0))
    if rule is None or since == 0:
        return ""
    return f"{rule.metric} has not improved in {since} of {rule.patience_validations} validations"


def describe_early_stop(rule: EarlyStop, counters: Mapping[str, float], step: int) -> str:
    """Say why the run ended at `step`, and which step was the best."""
    since = f"in {int(counters.get(_SINCE, 0))} validations"
    if _BEST not in counters:
        return f"stopped early at step {step}: {rule.metric} was not finite {since}"
    best = f"{counters[_BEST]:.6g} of step {int(counters[_BEST_STEP])}"
    return f"stopped early at step {step}: {rule.metric} has not improved on the {best} {since}"
