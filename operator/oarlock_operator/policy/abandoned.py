"""Pods that are being deleted and that nobody ends: the machine that should is gone, or does not do it. Pure.

Nobody waits for them, and nobody deletes them by force: what they still write is kept off by the fence on the volume.
"""

from collections.abc import Iterable

from oarlock_operator.reconcile.observed import ObservedPod

OVERDUE_SECONDS = 60.0
"""A kubelet that lives has killed a pod's processes this long after the end of its grace period."""


def is_abandoned(pod: ObservedPod, *, lost_nodes: frozenset[str], now: float) -> bool:
    """Say whether the end of a pod is not worth waiting for.

    An operator that may not read nodes tells a lost one by the time that its pods take to go.
    """
    if pod.node in lost_nodes:
        return True
    return pod.deleting and pod.delete_by is not None and now >= pod.delete_by + OVERDUE_SECONDS


def overdue_at(pods: Iterable[ObservedPod], *, now: float) -> float | None:
    """Return when the next of some ending pods is abandoned, in seconds since 1970; None if none of them will be."""
    times = (pod.delete_by + OVERDUE_SECONDS for pod in pods if pod.deleting and pod.delete_by is not None)
    return min((time for time in times if time > now), default=None)
