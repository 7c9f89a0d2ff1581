"""Conditions, as in every Kubernetes object: the time of a transition stays while the status does. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from oarlock_api.v1alpha1.status import Condition, ConditionStatus
from oarlock_operator.policy.bounds import clip
from oarlock_operator.policy.times import format_time

MAX_MESSAGE_BYTES = 600


@dataclass(frozen=True, kw_only=True, slots=True)
class Aspect:
    """One condition as it should be, without times."""

    type: str
    holds: bool
    reason: str
    message: str = ""


def update_conditions(
    before: Sequence[Condition], aspects: Iterable[Aspect], *, generation: int, now: float
) -> list[Condition]:
    """Return the conditions for `aspects`; one that is not among them is no longer said."""
    known = {condition.type: condition for condition in before}
    return [_update(known.get(aspect.type), aspect, generation=generation, now=now) for aspect in aspects]


def find_condition(conditions: Sequence[Condition], kind: str) -> Condition | None:
    return next((condition for condition in conditions if condition.type == kind), None)


def holds(conditions: Sequence[Condition], kind: str) -> bool:
    condition = find_condition(conditions, kind)
    return condition is not None and condition.status is ConditionStatus.TRUE


def _update(before: Condition | None, aspect: Aspect, *, generation: int, now: float) -> Condition:
    status = ConditionStatus.TRUE if aspect.holds else ConditionStatus.FALSE
    unchanged = before is not None and before.status is status
    return Condition(
        type=aspect.type,
        status=status,
        reason=aspect.reason,
        message=clip(aspect.message, MAX_MESSAGE_BYTES),
        last_transition_time=before.last_transition_time if before and unchanged else format_time(now),
        observed_generation=generation,
    )
