"""Init containers, which webhooks add to pods: that one fails again and again, or does not end. Pure."""

from oarlock_operator.policy.bounds import clip
from oarlock_operator.policy.times import format_time
from oarlock_operator.policy.wait import MAX_SAID, Wait, blame_webhook, name_container
from oarlock_operator.reconcile.observed import ObservedPod

_CRASHING = "CrashLoopBackOff"


def explain_init_container(pod: ObservedPod) -> Wait | None:
    """Return what an init container of a pod does instead of ending; None if none holds the pod up."""
    container = pod.holdup
    if container is None:
        return None
    if pod.waiting_reason == _CRASHING:
        finding = f"fails again and again: the last time it {describe_end(pod)}"
        return Wait(reason="InitContainerCrashing", message=f"{name_container(pod)} {finding}. {blame_webhook(pod)}")
    if container.running_since is None:
        return None
    doing = "has not passed its startup probe" if container.stays else "has not ended"
    return Wait(
        reason="InitContainerRunning",
        message=f"{name_container(pod)} runs since {format_time(container.running_since)} and {doing}: the trainer starts only"
        f" after it. {blame_webhook(pod)}",
    )


def describe_end(pod: ObservedPod) -> str:
    """Return how the container that held a pod up has ended, as the end of a sentence."""
    container = pod.holdup
    if container is None or container.exit_code is None:
        return "ended, and nobody says how"
    why = f" ({container.ended_reason})" if container.ended_reason not in ("", "Error") else ""
    said = f": {clip(container.ended_message.rstrip('.'), MAX_SAID)}" if container.ended_message else ""
    return f"ended with exit code {container.exit_code}{why}{said}"
