"""Every cause of a failure: those that a pod reports itself (`oarlock_api.contract.Cause`), and those that only the operator sees."""

from enum import StrEnum

from oarlock_api.contract import Cause


class OperatorCause(StrEnum):
    """Causes that lie outside the pod."""

    EVICTED = "Evicted"
    PREEMPTED = "Preempted"
    NODE_LOST = "NodeLost"
    NODE_REFUSED = "NodeRefused"
    POD_DELETED = "PodDeleted"
    INTERRUPTED = "Interrupted"
    UNSCHEDULABLE = "Unschedulable"
    IMAGE_UNAVAILABLE = "ImageUnavailable"
    CONTAINER_REFUSED = "ContainerRefused"
    INIT_CONTAINER_FAILED = "InitContainerFailed"
    CREATION_REFUSED = "CreationRefused"
    STARTUP_DEADLINE_EXCEEDED = "StartupDeadlineExceeded"
    ACTIVE_DEADLINE_EXCEEDED = "ActiveDeadlineExceeded"
    RESIZED = "Resized"
    EXCLUSION_LIFTED = "ExclusionLifted"


CONSEQUENCES: frozenset[str] = frozenset(
    {
        Cause.COLLECTIVE_FAILED,
        Cause.RENDEZVOUS_FAILED,
        Cause.SUPERSEDED,
        OperatorCause.INTERRUPTED,
    }
)
"""Causes that one pod has because another one failed: never the culprit if there is a better one."""
