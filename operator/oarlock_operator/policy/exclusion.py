"""Nodes that a job avoids because its attempts failed there again and again. Pure.

Only what a node can be to blame for counts: a rank that was killed or hung, a GPU that failed, a node that was lost or refused its pod. What the
user's program does wrong it does everywhere, and an eviction says nothing against a node.
"""

from collections.abc import Iterable, Sequence

from oarlock_api.contract import Cause
from oarlock_api.v1alpha1.status import MAX_EXCLUDED_NODES, ExcludedNode, FailureRecord
from oarlock_operator.policy.causes import OperatorCause
from oarlock_operator.policy.times import format_time, parse_time

FAULTS = 2
"""Faults on one node, among the failures that the status keeps, after which it is avoided."""
FORGOTTEN_SECONDS = 6 * 3600.0
"""Seconds after which a fault, or the exclusion that followed, counts no more: somebody may have mended the node."""
LIFTED_SECONDS = 60.0
"""Seconds for which pods must find no room before it is asked whether the exclusions are the reason."""
BLAMED: frozenset[str] = frozenset(
    {Cause.PROCESS_KILLED, Cause.HUNG, Cause.DEVICE_FAILED, OperatorCause.NODE_LOST, OperatorCause.NODE_REFUSED}
)


def exclude_nodes(
    before: Sequence[ExcludedNode],
    failures: Sequence[FailureRecord],
    *,
    usable_nodes: int | None,
    needed: int,
    now: float,
) -> list[ExcludedNode]:
    """Return the nodes that the next attempt avoids.

    Args:
        before: those that the last one avoided.
        failures: the latest failures, the newest last.
        usable_nodes: nodes of the cluster that take pods; None: unknown.
        needed: how many of them the job needs at least.
        now: seconds since 1970.
    """
    kept = [each for each in before if _is_recent(each.since, now)]
    found = _find_culprit(failures, now=now)
    if found is None or any(each.node == found.node for each in kept):
        return kept
    excluded = [*kept, found][-MAX_EXCLUDED_NODES:]
    if usable_nodes is not None and usable_nodes - len(excluded) < needed:
        return kept
    return excluded


def find_avoided(excluded: Iterable[ExcludedNode], *, at: float) -> tuple[str, ...]:
    """Return the nodes that are avoided at a time, in seconds since 1970: what is too old is listed until it is replaced."""
    return tuple(each.node for each in excluded if _is_recent(each.since, at))


def compute_expiry(since: str | None) -> float:
    """Return when an exclusion counts no more, in seconds since 1970."""
    return (parse_time(since) or 0.0) + FORGOTTEN_SECONDS


def _find_culprit(failures: Sequence[FailureRecord], *, now: float) -> ExcludedNode | None:
    """Return the node of the newest failure, if it has failed too often."""
    node = failures[-1].node if failures else ""
    faults = [
        failure.cause
        for failure in failures
        if node and failure.node == node and failure.cause in BLAMED and _is_recent(failure.time, now)
    ]
    if len(faults) < FAULTS or failures[-1].cause not in BLAMED:
        return None
    causes = ", ".join(dict.fromkeys(faults))
    return ExcludedNode(node=node, reason=f"{len(faults)} faults: {causes}", since=format_time(now))


def _is_recent(time: str, now: float) -> bool:
    return compute_expiry(time) > now
