"""Whether a pod waits for room on a node, and not for something that more or other nodes would not help. Pure."""

from oarlock_operator.reconcile.observed import ObservedPod

_VOLUME_WORDS = ("persistentvolumeclaim", "PersistentVolumeClaim", "volume node affinity")


def finds_no_room(pod: ObservedPod) -> bool:
    """Say whether the scheduler has looked for a node in vain. What it says of volumes is no matter of room."""
    waits = pod.phase == "Pending" and not pod.scheduled and not pod.is_gated and bool(pod.unschedulable)
    return waits and not any(word in pod.unschedulable for word in _VOLUME_WORDS)
