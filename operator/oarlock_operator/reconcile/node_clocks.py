"""Saying which node's clock is wrong. Pure."""

from collections.abc import Iterator, Mapping

from oarlock_api.v1alpha1.status import Condition, ConditionStatus
from oarlock_operator.policy.clocks import Skew
from oarlock_operator.policy.conditions import Aspect, find_condition
from oarlock_operator.reconcile.job_view import JobView

_TYPE = "NodeClocksRight"
_NAMED = 3
_MINUTE, _HOUR = 60, 3600


def describe_clocks(job: JobView) -> Iterator[Aspect]:
    """Yield whether the clocks of the job's nodes are right, once one was not."""
    known = find_condition(job.status.conditions, _TYPE)
    wrong = {node: skew for node, skew in job.skews.items() if skew.is_worth_telling}
    if wrong:
        yield Aspect(type=_TYPE, holds=False, reason="NodeClockWrong", message=_describe(wrong, known))
    elif known and known.status is ConditionStatus.FALSE and _is_over(job, known):
        yield Aspect(
            type=_TYPE, holds=True, reason="NodeClocksRight", message="the clocks of the job's nodes are right"
        )
    elif known:
        holds = known.status is ConditionStatus.TRUE
        yield Aspect(type=_TYPE, holds=holds, reason=known.reason, message=known.message)


def _is_over(job: JobView, known: Condition) -> bool:
    """Say whether no pod is on a node that was named, unless its agent tells the right time now."""
    nodes = [pod.node for pod in job.pods.values() if pod.scheduled]
    named = [node for node in nodes if _name(node) in known.message]
    right = [node for node in named if node in job.skews and job.skews[node].is_measured]
    return bool(nodes) and named == right


def _name(node: str) -> str:
    return f"the clock of node {node} is "


def _describe(wrong: Mapping[str, Skew], known: Condition | None) -> str:
    if (
        known
        and not any(skew.is_measured for skew in wrong.values())
        and all(_name(node) in known.message for node in wrong)
    ):
        return known.message  # What is known at least shrinks as time passes.
    worst = sorted(wrong, key=lambda node: (-abs(wrong[node].seconds), node))
    found = [f"{_name(node)}{_measure(wrong[node])}" for node in worst[:_NAMED]]
    more = f", and those of {len(worst) - _NAMED} more are wrong" if len(worst) > _NAMED else ""
    return (
        f"{', '.join(found)}{more}, against the API server's. Times that its pods write, in logs and checkpoints, are off by as much;"
        " no deadline rests on them. Set the clock of that node: see to its NTP service"
    )


def _measure(skew: Skew) -> str:
    seconds = abs(skew.seconds)
    amount = f"{seconds / _MINUTE:.0f} minutes" if seconds < 2 * _HOUR else f"{seconds / _HOUR:.1f} hours"
    return f"{'' if skew.is_measured else 'at least '}{amount} {'ahead' if skew.seconds > 0 else 'behind'}"
