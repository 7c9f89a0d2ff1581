"""What pods take that no admitted job has: those of a job that gave its place away are ending, and some stay for good. Pure."""

from collections.abc import Mapping
from typing import Any

from oarlock_api.v1alpha1.status import FINISHED_JOB_PHASES
from oarlock_api.v1alpha1.training_job import CleanPodPolicy
from oarlock_operator.policy.abandoned import OVERDUE_SECONDS
from oarlock_operator.policy.cleanup import has_left
from oarlock_operator.queueing.capacity import Occupied
from oarlock_operator.queueing.jobs import Needs
from oarlock_operator.reconcile.observed import ObservedPod


def find_leaving(pod: ObservedPod, needs: Needs, *, place: str, is_kept: bool, now: float) -> Occupied | None:
    """Return what a pod takes, and until when; None: nothing.

    Args:
        pod: a pod whose job holds no place.
        needs: what it asks for.
        place: name of the node on which that is counted.
        is_kept: whether its job has ended and keeps its pods.
        now: seconds since 1970.
    """
    if not pod.node or not needs or has_left(pod):
        return None
    # Of one that nobody ends, nobody knows when its place is free.
    is_overdue = pod.delete_by is not None and now >= pod.delete_by + OVERDUE_SECONDS
    stays = is_overdue or (is_kept and not pod.deleting)
    return Occupied(node=place, needs=needs, until=None if stays else max(now, pod.delete_by or now))


def keeps_pods(raw: Mapping[str, Any]) -> bool:
    """Say whether a TrainingJob has ended and its pods stay, also those that still run."""
    policy = (raw.get("spec") or {}).get("runPolicy")
    is_finished = (raw.get("status") or {}).get("phase") in FINISHED_JOB_PHASES
    return is_finished and isinstance(policy, Mapping) and policy.get("cleanPodPolicy") == CleanPodPolicy.NONE
