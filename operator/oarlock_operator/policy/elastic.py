"""How many nodes an elastic job takes: fewer while there is no room for all, more when there is. Pure.

A resize stops the whole gang, so it is done at once only where nothing is lost by it or somebody asked for it. Pods that are
asked to stop save first: what a resize costs is a start, and no steps.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from oarlock_api.v1alpha1.training_job import Elastic
from oarlock_operator.policy.bounds import clip
from oarlock_operator.policy.placing import finds_no_room
from oarlock_operator.reconcile.observed import ObservedPod

MAX_SAID_BYTES = 300
"""Of what the scheduler says, as it is kept in the status."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Resize:
    """Another number of nodes, and from when on."""

    nodes: int
    due: float
    """Seconds since 1970."""
    why: str


def clamp_nodes(wanted: int, elastic: Elastic) -> int:
    """Return the number nearest to `wanted` that the job may have."""
    return min(max(wanted, elastic.min_nodes), elastic.max_nodes)


def find_shrink(
    pods: Sequence[ObservedPod], *, nodes: int, refused: int, elastic: Elastic, patience: float
) -> Resize | None:
    """Return to how many nodes a gang shrinks that has no room for all its pods; None: it waits, or all have a place.

    Args:
        pods: the pods of the attempt.
        nodes: how many the attempt has.
        refused: pods that the API server refuses to create, as when a quota is used up.
        elastic: the bounds.
        patience: seconds for which a pod must have found no room: the scheduler tries again meanwhile.
    """
    placed = sum(1 for pod in pods if pod.scheduled)
    waiting = [pod for pod in pods if finds_no_room(pod)]
    is_judged = placed + len(waiting) + refused == nodes
    if placed == nodes or not is_judged or placed < elastic.min_nodes:
        return None
    said = (
        f": {clip(waiting[0].unschedulable.rstrip('.'), MAX_SAID_BYTES)}"
        if waiting
        else ", and the API server refuses more pods"
    )
    return Resize(
        nodes=placed,
        due=max(pod.created for pod in waiting or pods) + patience,
        why=f"there is room for {placed} of {nodes} nodes{said}",
    )


def find_growth(scouts: Sequence[ObservedPod], *, nodes: int, wanted: int, patience: float) -> Resize | None:
    """Return to how many nodes a gang grows whose scouts have found room; None: none has.

    Args:
        scouts: pods that hold a place each, or wait for one.
        nodes: how many the attempt has.
        wanted: how many it should have.
        patience: seconds that the scouts without a place are given, once others have one.
    """
    placed = [scout for scout in scouts if scout.scheduled and scout.phase in ("Pending", "Running")]
    if not placed:
        return None
    grown = min(nodes + len(placed), wanted)
    waits = 0.0 if grown == wanted else patience
    return Resize(
        nodes=grown,
        due=max(pod.scheduled_at or pod.created for pod in placed) + waits,
        why=f"there is room for {grown} of {wanted} nodes again",
    )


def pays_to_grow(*, eta_seconds: float | None, interval: float, is_asked: bool) -> bool:
    """Say whether more nodes are worth a stop.

    Args:
        eta_seconds: seconds until the last step; None: unknown.
        interval: seconds that an attempt should train at least.
        is_asked: whether somebody has just asked for more nodes.
    """
    return is_asked or eta_seconds is None or eta_seconds >= interval


def compute_growth_start(*, training_since: float, interval: float, is_asked: bool) -> float:
    """Return when to look for room for more nodes, in seconds since 1970.

    Args:
        training_since: since when this attempt trains without a break.
        interval: seconds that an attempt must have trained, so that nodes that come and go do not stop it all the time.
        is_asked: whether somebody has just asked for more nodes, who is not kept waiting.
    """
    return training_since + (0.0 if is_asked else interval)
