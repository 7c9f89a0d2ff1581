"""When an attempt has succeeded: when all its pods have ended well, or when the first has. Pure."""

from collections.abc import Mapping

from oarlock_api.v1alpha1.training_job import SuccessPolicy
from oarlock_operator.policy.failures import is_failing
from oarlock_operator.reconcile.observed import ObservedPod


def has_succeeded(pods: Mapping[int, ObservedPod], *, nodes: int, policy: SuccessPolicy) -> bool:
    """Say whether an attempt is done.

    Args:
        pods: the pods of the attempt, by the rank of their node.
        nodes: how many the attempt has.
        policy: `runPolicy.successPolicy`.
    """
    if policy is SuccessPolicy.FIRST_NODE:
        return 0 in pods and _has_ended_well(pods[0])
    return 0 < nodes <= sum(1 for pod in pods.values() if _has_ended_well(pod))


def _has_ended_well(pod: ObservedPod) -> bool:
    return pod.phase == "Succeeded" and not is_failing(pod, lost_nodes=frozenset())
