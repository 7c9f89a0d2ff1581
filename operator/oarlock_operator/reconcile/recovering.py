"""After a failure: a new attempt, or the end of the job. Pure.

The number of the attempt, the counters and the failure change in one write, and only then are the old pods deleted: a crash of the
operator in between neither loses nor doubles a restart.
"""

from typing import Any

from oarlock_api.v1alpha1.status import MAX_FAILURES, FailureRecord, JobPhase, TrainingJobStatus
from oarlock_operator.policy.backoff import compute_retry_delay
from oarlock_operator.policy.bounds import fit_failure
from oarlock_operator.policy.causes import OperatorCause
from oarlock_operator.policy.deadlines import compute_startup_clock
from oarlock_operator.policy.exclusion import exclude_nodes
from oarlock_operator.policy.failures import Culprit, find_culprit
from oarlock_operator.policy.phases import count_active_seconds
from oarlock_operator.policy.rendezvous import explain_rendezvous, is_joining
from oarlock_operator.policy.restarts import Budget, Verdict, budget_of, decide_restart
from oarlock_operator.policy.times import format_time, parse_time
from oarlock_operator.policy.wait import Wait
from oarlock_operator.policy.waiting import explain_wait
from oarlock_operator.reconcile.finishing import pods_to_remove
from oarlock_operator.reconcile.job_progress import build_checkpoints
from oarlock_operator.reconcile.job_view import JobView
from oarlock_operator.reconcile.renewing import describe_renewal, raise_attempt
from oarlock_operator.reconcile.steps import JobStep
from oarlock_operator.reconcile.surroundings import surround_job


def expire(job: JobView) -> JobStep | None:
    """End a job that has taken as long as it may."""
    allowed, status = job.policy.active_deadline_seconds, job.status
    taken = count_active_seconds(status.phases, phase=status.phase, since=status.phase_since, now=job.now)
    if allowed is None or taken < allowed:
        return None
    failure = _blame_operator(
        job,
        OperatorCause.ACTIVE_DEADLINE_EXCEEDED,
        f"the job took longer than the {allowed} s that runPolicy.activeDeadlineSeconds allows",
        remedy="raise it, and apply the job under another name",
    )
    return fail(job, failure, why="")


def recover(job: JobView) -> JobStep | None:
    """Answer the failure of an attempt; None if nothing failed."""
    culprit = find_culprit(
        tuple(job.pods.values()),
        job.missing if job.were_all_running else {},
        attempt=job.status.attempt,
        lost_nodes=job.lost_nodes,
        now=job.now,
    )
    if culprit and job.now < culprit.settled_at:
        return _look_for_culprit(job, culprit)
    failure = culprit.failure if culprit else _find_startup_failure(job)
    if failure is None:
        return None
    verdict = _judge(job, failure)
    return restart(job, failure, verdict) if verdict.restart else fail(job, failure, why=verdict.why)


def _look_for_culprit(job: JobView, culprit: Culprit) -> JobStep:
    return JobStep(
        phase=job.status.phase or JobPhase.STARTING,
        reason="PodFailed",
        message=f"{culprit.failure.message}; looking for the pod that failed first",
        wake_at=culprit.settled_at,
    )


def _judge(job: JobView, failure: FailureRecord) -> Verdict:
    floor = job.status.resume_floor
    return decide_restart(
        failure.cause,
        progressed=floor is None or _checkpoint_step(job) > floor,
        counted_restarts=job.status.counted_restarts,
        backoff_limit=job.policy.backoff_limit,
        earlier=job.status.failures,
        now=job.now,
    )


def _checkpoint_step(job: JobView) -> int:
    latest = build_checkpoints(job).latest
    return latest.step if latest else 0


def restart(job: JobView, failure: FailureRecord, verdict: Verdict) -> JobStep:
    """Raise the attempt, and remove the pods of this one."""
    changes = _count_restart(job, failure, verdict)
    after = job.status.model_copy(update=changes)
    return JobStep(
        phase=JobPhase.RESTARTING,
        reason=failure.cause,
        message=describe_restart(after),
        changes=changes,
        delete=tuple(pod for pod in job.all_pods if not pod.deleting),
        confirm=True,
        wake_at=parse_time(after.retry_after),
    )


def _count_restart(job: JobView, failure: FailureRecord, verdict: Verdict) -> dict[str, Any]:
    status = job.status
    before = status.failures[-1] if status.failures else None
    delay = compute_retry_delay(
        base=job.settings.retry_delay_seconds,
        failed_before=parse_time(before.time) if before else None,
        retried_at=parse_time(status.retry_after),
        now=job.now,
    )
    failures = [*status.failures, failure][-MAX_FAILURES:]
    costs = budget_of(failure.cause) is not Budget.FREE
    return {
        "attempt": raise_attempt(job),
        "failures": failures,
        "excluded_nodes": exclude_nodes(
            status.excluded_nodes,
            failures,
            usable_nodes=job.observed.usable_nodes,
            needed=_count_needed_nodes(job),
            now=job.now,
        ),
        "restarts": {**status.restarts, failure.cause: status.restarts.get(failure.cause, 0) + 1},
        "restart_count": status.restart_count + 1,
        "counted_restarts": status.counted_restarts + verdict.counts,
        "resume_floor": _checkpoint_step(job) if costs else status.resume_floor,
        "retry_after": format_time(job.now + delay),
    }


def _count_needed_nodes(job: JobView) -> int:
    """Return how many nodes the job cannot do without: pods that take GPUs have one each, others may share one."""
    uses_gpus = job.run is not None and job.run.workers.gpus_per_node > 0
    return job.nodes if uses_gpus else 1


def describe_restart(status: TrainingJobStatus) -> str:
    """Say why the job restarts and when, from its status alone."""
    if renewal := describe_renewal(status):
        return renewal
    if not status.failures:
        return f"attempt {status.attempt} starts at {status.retry_after}"
    failure = status.failures[-1]
    remedy = f" ({failure.remedy})" if failure.remedy else ""
    return f"{failure.message}{remedy}. Attempt {status.attempt} starts at {status.retry_after}"


def fail(job: JobView, failure: FailureRecord, *, why: str) -> JobStep:
    """End the job."""
    remedy = f". Remedy: {failure.remedy}" if failure.remedy else ""
    no_more = f". No new attempt: {why}" if why else ""
    return JobStep(
        phase=JobPhase.FAILED,
        reason=failure.cause,
        message=f"{failure.message}{remedy}{no_more}",
        changes={
            "failures": [*job.status.failures, failure][-MAX_FAILURES:],
            "completion_time": format_time(job.now),
            "retry_after": None,
        },
        delete=pods_to_remove(job),
        confirm=True,
    )


def fail_refused(job: JobView, message: str) -> JobStep:
    """End a job one of whose children the API server calls invalid."""
    failure = _blame_operator(
        job, OperatorCause.CREATION_REFUSED, message, remedy="apply the corrected job under another name"
    )
    return fail(job, failure, why="")


def _find_startup_failure(job: JobView) -> FailureRecord | None:
    """Return the failure of an attempt that has not made its first step in time."""
    if job.has_trained or (job.up == job.nodes and job.report is None):
        return None  # A trainer that cannot be asked may well be training: its agent keeps the deadlines inside.
    allowed = job.policy.startup_deadline_seconds
    clock = compute_startup_clock(tuple(job.pods.values()), wanted=job.nodes, allowed=allowed)
    if clock.due is None or job.now < clock.due:
        return None
    wait = explain_wait(job.pods.values(), surround_job(job)) or _explain_slow_trainer(job)
    if clock.placed < job.nodes:
        held = f"{clock.placed} of {job.nodes} pods held their nodes for {allowed} s while others had none"
        return _blame_operator(
            job, OperatorCause.UNSCHEDULABLE, f"{held}: {wait.message}", remedy="the nodes are given back meanwhile"
        )
    return _blame_operator(
        job,
        wait.cause,
        f"no first step within {allowed} s: {wait.message}",
        remedy="see to it, or raise runPolicy.startupDeadlineSeconds",
    )


def _explain_slow_trainer(job: JobView) -> Wait:
    if job.nodes > 1 and is_joining(job.report) and job.observed.peers:
        meeting = explain_rendezvous(tuple(job.pods.values()), job.reports, since=job.gathered_since, now=job.now)
        return Wait(reason=meeting.reason, message=meeting.message)
    phase = job.report.phase if job.report else "Starting"
    return Wait(reason=phase, message=f"all pods run, and rank 0 in pod {job.pod_name(0)} is still {phase}")


def _blame_operator(job: JobView, cause: str, message: str, *, remedy: str) -> FailureRecord:
    return fit_failure(
        FailureRecord(
            attempt=job.status.attempt, cause=cause, message=message, remedy=remedy, time=format_time(job.now)
        )
    )
