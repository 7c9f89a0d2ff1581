"""When a job must be looked at again although nothing is observed: deadlines and waits. Pure."""

from oarlock_api.v1alpha1.status import TrainingJobStatus
from oarlock_operator.policy.deadlines import compute_startup_clock
from oarlock_operator.policy.phases import ACTIVE, count_active_seconds
from oarlock_operator.policy.times import earliest
from oarlock_operator.reconcile.excluding import next_lift
from oarlock_operator.reconcile.job_conditions import SILENCE_SECONDS, silent_since
from oarlock_operator.reconcile.job_view import JobView
from oarlock_operator.reconcile.resizing import next_resize
from oarlock_operator.reconcile.steps import JobStep


def compute_wake(job: JobView, step: JobStep, status: TrainingJobStatus) -> float | None:
    """Return the next time, in seconds since 1970, at which the plan may be another one; None if none is known."""
    if step.phase not in ACTIVE:
        return step.wake_at
    moments = (
        step.wake_at,
        _active_deadline(job, status),
        _startup_deadline(job),
        _silence(job),
        *_changes_of_nodes(job),
    )
    return earliest(*(moment for moment in moments if moment is not None and moment > job.now))


def _active_deadline(job: JobView, status: TrainingJobStatus) -> float | None:
    allowed = job.policy.active_deadline_seconds
    if allowed is None:
        return None
    taken = count_active_seconds(status.phases, phase=status.phase, since=status.phase_since, now=job.now)
    return job.now + allowed - taken


def _startup_deadline(job: JobView) -> float | None:
    if job.has_trained or not job.pods:
        return None
    allowed = job.policy.startup_deadline_seconds
    return compute_startup_clock(tuple(job.pods.values()), wanted=job.nodes, allowed=allowed).due


def _changes_of_nodes(job: JobView) -> tuple[float | None, ...]:
    return next_resize(job), next_lift(job)


def _silence(job: JobView) -> float | None:
    since = silent_since(job)
    return None if since is None else since + SILENCE_SECONDS
