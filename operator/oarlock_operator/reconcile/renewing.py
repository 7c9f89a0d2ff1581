"""A new attempt of the whole gang that no failure asks for: with other nodes, or with another number of them. Pure.

As after a failure, one write raises the number of the attempt, and only then are the pods deleted: an operator that dies in
between neither loses nor doubles anything. It costs nothing, and does not wait: a back-off that runs goes on.
"""

from collections.abc import Mapping
from typing import Any

from oarlock_api.v1alpha1.status import Gang, JobPhase, TrainingJobStatus
from oarlock_operator.policy.causes import OperatorCause
from oarlock_operator.policy.times import parse_time
from oarlock_operator.reconcile.job_view import JobView
from oarlock_operator.reconcile.steps import JobStep


def renew(job: JobView, cause: OperatorCause, changes: Mapping[str, Any]) -> JobStep:
    """Raise the attempt, and remove the pods of this one.

    Args:
        job: the job.
        cause: what the new attempt counts as; it is counted only if this one has pods, so that something was interrupted.
        changes: what differs from this attempt, as fields of the status.
    """
    status = job.status
    after = {**changes, "attempt": raise_attempt(job)}
    if job.pods:
        after["restarts"] = {**status.restarts, cause: status.restarts.get(cause, 0) + 1}
        after["restart_count"] = status.restart_count + 1
    return JobStep(
        phase=JobPhase.RESTARTING,
        reason=cause,
        message=describe_renewal(status.model_copy(update={**after, "reason": cause})),
        changes=after,
        delete=tuple(pod for pod in job.all_pods if not pod.deleting),
        confirm=True,
        wake_at=parse_time(status.retry_after),
    )


def raise_attempt(job: JobView) -> int:
    """Return the number of the next attempt: one that the status knows nothing of may be on the volume's fence already."""
    return 1 + max([job.status.attempt, *(pod.attempt for pod in job.old_pods)])


def set_gang(job: JobView, nodes: int, *, why: str) -> dict[str, Any]:
    """Return the change of the status with which an attempt gets another number of nodes."""
    return {"gang": Gang(nodes=nodes, wanted=job.wanted, why=why)}


def describe_renewal(status: TrainingJobStatus) -> str:
    """Say why there is a new attempt though nothing failed, from the status alone; empty if something did."""
    if status.reason == OperatorCause.RESIZED and status.gang:
        nodes = f"{status.gang.nodes} {'node' if status.gang.nodes == 1 else 'nodes'}"
        return f"{status.gang.why}. Attempt {status.attempt} goes on with {nodes}"
    if status.reason == OperatorCause.EXCLUSION_LIFTED:
        return f"there was no room without the nodes that were avoided: attempt {status.attempt} may use them again"
    return ""
