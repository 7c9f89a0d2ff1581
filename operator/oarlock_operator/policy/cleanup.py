"""Which pods of a finished job are removed. Pure."""

from collections.abc import Iterable

from oarlock_api.v1alpha1.training_job import CleanPodPolicy
from oarlock_operator.reconcile.observed import ObservedPod

ENDED = frozenset({"Succeeded", "Failed"})


def choose_pods_to_remove(pods: Iterable[ObservedPod], policy: CleanPodPolicy) -> tuple[ObservedPod, ...]:
    """Return the pods to delete: those that are being deleted already are none of them.

    Pods that still run keep nodes from others, and so go by default; one whose sidecars run on does that too. Those that have
    ended cost nothing, and their logs are what one looks for first.
    """
    if policy is CleanPodPolicy.NONE:
        return ()
    keeps_ended = policy is CleanPodPolicy.RUNNING
    return tuple(pod for pod in pods if not pod.deleting and not (keeps_ended and has_left(pod)))


def has_left(pod: ObservedPod) -> bool:
    """Say whether a pod takes nothing of its node any more."""
    return pod.phase in ENDED and not pod.lingers
