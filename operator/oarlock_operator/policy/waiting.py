"""Why pods do not run yet: the culprit and the remedy, from what scheduler, kubelet and volumes say. Pure."""

from collections.abc import Iterable, Mapping

from oarlock_operator.policy.bounds import clip
from oarlock_operator.policy.causes import OperatorCause
from oarlock_operator.policy.containers import explain_container
from oarlock_operator.policy.images import explain_image
from oarlock_operator.policy.init_containers import explain_init_container
from oarlock_operator.policy.scheduling import explain_unscheduled
from oarlock_operator.policy.times import format_time
from oarlock_operator.policy.volumes import explain_volume
from oarlock_operator.policy.wait import MAX_SAID, Surroundings, Wait, locate
from oarlock_operator.reconcile.observed import ObservedPod

_URGENCY = {
    "ClaimMissing": 2,
    "ClaimPending": 2,
    "Unschedulable": 2,
    "Creating": 3,
    "Scheduling": 3,
}
"""Errors that a person must see to stand before what may pass by itself."""


def explain_wait(pods: Iterable[ObservedPod], surroundings: Surroundings) -> Wait | None:
    """Return what holds up those pods that do not run: what a person must see to first; None if all run."""
    waits = [_explain_pod(pod, surroundings) for pod in sorted(pods, key=lambda pod: pod.rank) if not _has_started(pod)]
    return min(waits, key=lambda wait: _URGENCY.get(wait.reason, 1), default=None)


def wait_for_scheduler(pod: str) -> Wait:
    """Return what a pod waits for that is only just created."""
    return Wait(reason="Scheduling", message=f"pod {pod} waits for the scheduler", cause=OperatorCause.UNSCHEDULABLE)


def _has_started(pod: ObservedPod) -> bool:
    return pod.phase not in ("Pending", "Unknown")


def _explain_pod(pod: ObservedPod, surroundings: Surroundings) -> Wait:
    if not pod.scheduled:
        return explain_unscheduled(pod, surroundings) or wait_for_scheduler(pod.name)
    return (
        explain_image(pod, _image_of(surroundings.pod_spec))
        or explain_container(pod)
        or explain_init_container(pod)
        or explain_volume(pod)
        or _explain_sandbox(pod)
        or _explain_creation(pod, is_local=surroundings.is_local)
    )


def _image_of(pod_spec: Mapping[str, object]) -> str:
    containers = pod_spec.get("containers")
    first = containers[0] if isinstance(containers, list) and containers else {}
    return str(first.get("image") or "of its container")


def _explain_sandbox(pod: ObservedPod) -> Wait | None:
    if not pod.warning.startswith(("FailedCreatePodSandBox", "NetworkNotReady")):
        return None
    return Wait(
        reason="PodNetworkFailed",
        message=f"the node cannot set up the network of {locate(pod)}: {clip(pod.warning.rstrip('.'), MAX_SAID)}. See to the"
        " network plugin (CNI) of the node, and cordon it meanwhile. It is tried again by itself",
    )


def _explain_creation(pod: ObservedPod, *, is_local: bool) -> Wait:
    """Say what is being done to a pod that nothing is known to be wrong with."""
    doing = f" ({pod.waiting_reason})" if pod.waiting_reason else ""
    since = f" since {format_time(pod.scheduled_at)}" if pod.scheduled_at else ""
    said = pod.waiting_message or pod.warning
    usual = "its process is started" if is_local else "its image is pulled and its volumes are mounted"
    repeated = f": {clip(said, MAX_SAID) if said else usual}"
    return Wait(reason="Creating", message=f"{locate(pod)} is being created{since}{doing}{repeated}")
