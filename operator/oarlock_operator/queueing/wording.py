"""What people read about their place in the queue. Pure."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime

from oarlock_operator.policy.amounts import format_amount
from oarlock_operator.queueing.jobs import QueuedJob
from oarlock_operator.queueing.placement import why_not
from oarlock_operator.queueing.pool import count_slots
from oarlock_operator.reconcile.observed import ObservedNode

_DAY = 86_400.0
_MOST_REASONS = 4


def describe_place(job: QueuedJob, *, position: int, available: str, expected_start: float | None, now: float) -> str:
    """Return the message of a job that waits: its place, what it needs, what is free, and when it starts."""
    parts = [f"{ordinal(position)} in the queue", f"needs {describe_needs(job)}, {available}"]
    if expected_start is not None:
        parts.append(f"expected start about {format_moment(expected_start, now=now)}")
    return "; ".join(parts)


def describe_needs(job: QueuedJob) -> str:
    """Return what a job needs in all: `16 nvidia.com/gpu, 8 on each of 2 nodes`."""
    total = " and ".join(f"{format_amount(name, amount * job.pods)} {name}" for name, amount in job.needs)
    each = " and ".join(format_amount(name, amount) for name, amount in job.needs)
    fewest = f", at least {job.fewest}" if job.fewest < job.pods else ""
    return total if job.pods == 1 else f"{total} ({each} for each of {job.pods} pods{fewest})"


def describe_free(free: Sequence[float], resource: str) -> str:
    """Return how much of a resource is free on those nodes that a job may use."""
    some = [amount for amount in free if amount > 0]
    if not some:
        return f"none free on {_count(len(free), 'node')}"
    where = f"{len(some)} of {_count(len(free), 'node')}" if len(free) > 1 else "1 node"
    return f"{format_amount(resource, sum(some))} free on {where}"


def describe_budget(free: float, total: float, resource: str) -> str:
    return f"{format_amount(resource, max(0.0, free))} of {format_amount(resource, total)} free in the budget"


def explain_misfit(job: QueuedJob, nodes: Sequence[ObservedNode], *, is_budget: bool) -> str:
    """Say why a job fits nowhere, even if nobody else were there."""
    if is_budget:
        [budget] = nodes
        has = " and ".join(f"{format_amount(name, budget.allocatable.get(name, 0.0))} {name}" for name, _ in job.needs)
        return f"needs {describe_needs(job)}, and the whole budget is {has}. Ask for less, or have the budget raised"
    resources = [name for name, _ in job.needs]
    reasons = Counter(_explain_node(job, node, resources) for node in nodes)
    listed = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))[:_MOST_REASONS]
    said = ", ".join(f"{number} {reason}" for reason, number in listed)
    found = f"of {_count(len(nodes), 'node')}: {said}" if nodes else "there are no nodes"
    return (
        f"needs {describe_needs(job)}, and never fits on the nodes there are ({found}). Ask for less, let the pods use more"
        " nodes (nodeSelector, affinity, tolerations in podTemplate), or have nodes added; where nodes are added only for pods"
        " that wait, the administrator sets a queue budget"
    )


def _explain_node(job: QueuedJob, node: ObservedNode, resources: Sequence[str]) -> str:
    if reason := why_not(job.placement, node, resources=resources):
        return reason
    slots = count_slots(node.allocatable, job.needs)
    if slots == 0:
        return "with too little " + " or ".join(resources)
    return f"with room for {_count(slots, 'pod')}"


def ordinal(number: int) -> str:
    """Return 1st, 2nd, 3rd, 4th, …, 11th, …, 21st."""
    teens = {11, 12, 13}
    suffix = "th" if number % 100 in teens else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{suffix}"


def format_moment(time: float, *, now: float) -> str:
    """Return a time of day in UTC, with the date if it is not near."""
    pattern = "%H:%M UTC" if time - now < _DAY else "%Y-%m-%d %H:%M UTC"
    return datetime.fromtimestamp(time, tz=UTC).strftime(pattern)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
