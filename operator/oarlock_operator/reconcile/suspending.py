"""Suspending a job: all its pods are deleted at once, and the attempt is over. Pure.

The agents checkpoint within their grace period. The number of the attempt is raised in the same write, so that the pods that are
ending are old ones: resuming starts pods of new names, and costs no restart.
"""

from collections.abc import Sequence
from typing import Any

from oarlock_api.v1alpha1.status import JobPhase
from oarlock_operator.policy.abandoned import is_abandoned, overdue_at
from oarlock_operator.policy.conditions import holds
from oarlock_operator.policy.times import format_time
from oarlock_operator.reconcile.job_progress import build_checkpoints
from oarlock_operator.reconcile.job_view import JobView
from oarlock_operator.reconcile.observed import ObservedPod
from oarlock_operator.reconcile.renewing import raise_attempt, set_gang
from oarlock_operator.reconcile.steps import JobStep


def suspend(job: JobView) -> JobStep | None:
    """Remove the pods of a job that shall be suspended; None if it shall not."""
    if not job.policy.suspend:
        return None
    lost_nodes = job.observed.lost_nodes
    abandoned = [pod for pod in job.all_pods if pod.deleting and is_abandoned(pod, lost_nodes=lost_nodes, now=job.now)]
    pods = job.all_pods if job.pods else tuple(pod for pod in job.all_pods if pod not in abandoned)
    if not pods:
        return _rest_suspended(job, abandoned)
    leaving = [pod for pod in pods if pod.deleting]
    until = max((pod.delete_by for pod in leaving if pod.delete_by), default=None)
    by = f", until {format_time(until)} at the latest" if until else ""
    shown = ", ".join(sorted(_locate(pod.name, pod.node) for pod in pods)[:3])
    return JobStep(
        phase=JobPhase.SUSPENDED,
        reason="Suspending",
        message=f"waiting for {len(pods)} {'pod' if len(pods) == 1 else 'pods'} to checkpoint and end{by}: {shown}",
        changes={**_begin_anew(job), "retry_after": None} if job.pods else {},
        delete=tuple(pod for pod in pods if not pod.deleting),
        confirm=bool(job.pods),
        wake_at=overdue_at(leaving, now=job.now),
    )


def _locate(pod: str, node: str) -> str:
    return f"{pod} on {node}" if node else pod


def _rest_suspended(job: JobView, abandoned: Sequence[ObservedPod]) -> JobStep:
    latest = build_checkpoints(job).latest
    safe = (
        f"step {latest.step} is safe on claim {job.run.checkpoints.claim}"
        if latest and job.run
        else "no checkpoint yet"
    )
    message = f"{_describe_rest(abandoned)}; {safe}. {_say_how_to_resume(job)}"
    is_said = holds(job.status.conditions, "Suspended") and job.status.message == message
    return JobStep(
        phase=JobPhase.SUSPENDED,
        reason="Suspended",
        message=message,
        changes={**(_begin_anew(job) if job.wanted != job.nodes else {}), "retry_after": None},
        # That nothing is there, or no more than before, must not be believed of a cache either.
        confirm=not is_said or job.wanted != job.nodes,
    )


def _say_how_to_resume(job: JobView) -> str:
    if job.settings.is_local:
        return "Run it again to resume"
    return "Set spec.runPolicy.suspend to false to resume"


def _describe_rest(abandoned: Sequence[ObservedPod]) -> str:
    if not abandoned:
        return "all pods are gone"
    where = ", ".join(sorted(_locate(pod.name, pod.node) for pod in abandoned)[:3])
    return f"all pods are gone but {where}, which its machine does not end: it goes when the machine is back or removed"


def _begin_anew(job: JobView) -> dict[str, Any]:
    """Return the changes with which the next attempt is another one, with all nodes that are wanted: the room may differ."""
    resized = set_gang(job, job.wanted, why="the job was suspended") if job.wanted != job.nodes else {}
    return {"attempt": raise_attempt(job), **resized}
