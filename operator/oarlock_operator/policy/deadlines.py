"""Deadlines that only the operator can keep: until the first step, and of the whole job. Pure.

The progress deadline is the agent's: it sees every rank and needs no network for it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from oarlock_operator.reconcile.observed import ObservedPod

IMPORT_STARTUP_SECONDS = 600.0
"""Seconds that the pod of an import may take to run once it has a node: what jobs have by default."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StartupClock:
    """Until when an attempt must have made its first step."""

    due: float | None
    """Seconds since 1970; None: the clock does not run, since no pod has a node."""
    placed: int
    """Pods that have a node."""


def compute_startup_clock(pods: Sequence[ObservedPod], *, wanted: int, allowed: float) -> StartupClock:
    """Return until when the pods of an attempt must train.

    Waiting for a node costs nobody anything while no pod has one, so the clock does not run then. Once some have a node, it
    runs from the first of them, since they keep nodes from others; once all have, from the last.
    """
    placed = [pod.scheduled_at or pod.created for pod in pods if pod.scheduled]
    if not placed:
        return StartupClock(due=None, placed=0)
    began = max(placed) if len(placed) >= wanted else min(placed)
    return StartupClock(due=began + allowed, placed=len(placed))
