"""The end of a job and what comes after it: success, the removal of its pods, and at last of the job itself. Pure."""

from oarlock_api.v1alpha1.status import JobPhase
from oarlock_operator.policy.cleanup import choose_pods_to_remove
from oarlock_operator.policy.lifetime import compute_deletion_time
from oarlock_operator.policy.success import has_succeeded
from oarlock_operator.policy.times import format_time, parse_time
from oarlock_operator.reconcile.job_progress import build_checkpoints, build_progress, final_record
from oarlock_operator.reconcile.job_view import JobView
from oarlock_operator.reconcile.observed import ObservedPod
from oarlock_operator.reconcile.steps import JobStep


def rest(job: JobView) -> JobStep | None:
    """Keep a finished job as it is, without pods that are to go, until its time is over; None if it is not finished."""
    status = job.status
    if not job.is_finished or status.phase is None:
        return None
    due = compute_deletion_time(
        finished=parse_time(status.completion_time), ttl_seconds=job.policy.ttl_seconds_after_finished
    )
    is_over = due is not None and due <= job.now
    return JobStep(
        phase=status.phase,
        reason=status.reason,
        message=status.message,
        # With the job its pods go: the garbage collector sees to them.
        delete=() if is_over else pods_to_remove(job),
        delete_job=is_over,
        wake_at=due,
    )


def succeed(job: JobView) -> JobStep | None:
    """Declare success when the attempt is done."""
    if not has_succeeded(job.pods, nodes=job.nodes, policy=job.policy.success_policy):
        return None
    return JobStep(
        phase=JobPhase.SUCCEEDED,
        reason="Finished",
        message=_describe_success(job),
        changes={"completion_time": format_time(job.now), "retry_after": None},
        # Confirmed if pods are to go; else not: a pod that has ended well stays so, and the write is refused to an old state.
        delete=pods_to_remove(job),
    )


def pods_to_remove(job: JobView) -> tuple[ObservedPod, ...]:
    """Return the pods that a job does not need once it is finished."""
    return choose_pods_to_remove((*job.all_pods, *job.checks), job.policy.clean_pod_policy)


def _describe_success(job: JobView) -> str:
    progress, checkpoints = build_progress(job), build_checkpoints(job)
    if job.run and job.run.script and not (progress and progress.step):
        return "the program has ended well"
    metric = f", validation {progress.metric}" if progress and progress.metric else ""
    trained = f"trained {progress.step} steps{metric}" if progress else "trained; its pods left no record"
    export = f". The model is on claim {checkpoints.claim}: {checkpoints.export}" if checkpoints.export else ""
    record = final_record(job)
    notes = "".join(f"; {note}" for note in record.notes) if record else ""
    return trained + notes + export
