"""Plans a TrainingJob: read `plan_job` from top to bottom. Pure: no I/O, no clock."""

from oarlock_api.v1alpha1.status import JobPhase, TrainingJobStatus
from oarlock_operator import names
from oarlock_operator.policy.causes import OperatorCause
from oarlock_operator.reconcile.accepting import accept
from oarlock_operator.reconcile.alarms import compute_wake
from oarlock_operator.reconcile.earlier_runs import introduce
from oarlock_operator.reconcile.excluding import lift_exclusions
from oarlock_operator.reconcile.finishing import rest, succeed
from oarlock_operator.reconcile.following import follow
from oarlock_operator.reconcile.grouping import list_old_groups, wait_for_group
from oarlock_operator.reconcile.hazards import restore_group, restore_service
from oarlock_operator.reconcile.job_status import build_job_status, is_progress_only, is_same
from oarlock_operator.reconcile.job_view import JobView, view_job
from oarlock_operator.reconcile.observed import ObservedJob
from oarlock_operator.reconcile.plans import Deletion, EventNote, Plan, Reference
from oarlock_operator.reconcile.recovering import expire, recover
from oarlock_operator.reconcile.renewing import describe_renewal
from oarlock_operator.reconcile.resizing import grow, resize
from oarlock_operator.reconcile.starting import make_room, start, sweep
from oarlock_operator.reconcile.steps import JobStep
from oarlock_operator.reconcile.suspending import suspend
from oarlock_operator.reconcile.taking_turns import give_way, wait_for_kueue, wait_turn
from oarlock_operator.settings import Settings

_WARNINGS = frozenset({JobPhase.INVALID, JobPhase.RESTARTING, JobPhase.FAILED})


def plan_job(observed: ObservedJob, *, now: float, settings: Settings) -> Plan:
    """Return what is to be done for a TrainingJob.

    Args:
        observed: everything that is known of it.
        now: seconds since 1970.
        settings: what the administrator decided.
    """
    if observed.object.deleting:
        # The garbage collector removes what the job owns; its Dataset may be let go.
        return Plan(others=_dataset_references(observed))
    job, step = view_job(observed, now=now, settings=settings), None
    if job.run is None and not job.is_finished:
        job, step = keep_unreadable(job) if job.is_unreadable else accept(job)
    return conclude(observed, job, introduce(job, step or decide(job)))


def decide(job: JobView) -> JobStep:
    """Return the step of a job that was accepted: the first that applies."""
    return (
        rest(job)
        or succeed(job)
        or suspend(job)
        or expire(job)
        or recover(job)
        or give_way(job)
        or wait_turn(job)
        or lift_exclusions(job)
        or resize(job)
        or make_room(job)
        or start(job)
        or restore_group(job)
        or wait_for_kueue(job)
        or wait_for_group(job)
        or restore_service(job)
        or sweep(job, grow(job, follow(job)))
    )


def keep_unreadable(job: JobView) -> tuple[JobView, JobStep]:
    """Leave alone a job whose frozen run this operator cannot read: freezing it anew might train something else."""
    step = JobStep(
        phase=job.status.phase or JobPhase.INVALID,
        reason="RunUnreadable",
        message="status.run cannot be read by this operator: it was edited, or written by a newer one. Restore it, upgrade the"
        " operator, or delete the job and apply it again",
    )
    return job, step


def conclude(observed: ObservedJob, job: JobView, step: JobStep) -> Plan:
    """Turn a step into a plan, or into the question whether what it rests on is true."""
    status = build_job_status(job, step)
    is_new = not is_same(observed.status, status)
    # A write of the status is refused if it was planned from an old state; what is created without one has no such guard.
    unguarded = bool(step.create) and not is_new
    old_groups = list_old_groups(job, status)
    is_destructive = bool(step.delete or step.delete_job or old_groups)
    if (step.confirm or is_destructive or unguarded) and not observed.confirmed:
        return Plan(confirm=(*_references_to_confirm(job), *step.witnesses))
    events = _describe_events(observed.status, status)
    return Plan(
        status=status if is_new else None,
        urgent=bool(step.create or is_destructive or events)
        or (is_new and not is_progress_only(observed.status, status)),
        delete=(*_list_deletions(job, step), *old_groups),
        create=step.create,
        events=events,
        wake_at=compute_wake(job, step, status),
        others=_others(observed, status),
    )


def _list_deletions(job: JobView, step: JobStep) -> tuple[Deletion, ...]:
    namespace, name = job.owner.namespace, job.owner.name
    pods = (
        Deletion(reference=Reference(kind="Pod", namespace=namespace, name=pod.name), uid=pod.uid)
        for pod in step.delete
    )
    own = Deletion(reference=Reference(kind="TrainingJob", namespace=namespace, name=name), uid=job.owner.uid)
    return (*pods, own) if step.delete_job else (*pods,)


def _references_to_confirm(job: JobView) -> tuple[Reference, ...]:
    """Name the job, its pods as they are known, and those that may be there unknown: an attempt begins after the one before."""
    attempt = job.status.attempt
    attempts = (attempt - 1, attempt) if attempt > 0 else (attempt,)
    known = [pod.name for pod in (*job.all_pods, *job.checks)]
    possible = [job.pod_name(rank, attempt=number) for number in attempts for rank in range(job.most_nodes)]
    pods = (Reference(kind="Pod", namespace=job.owner.namespace, name=name) for name in dict.fromkeys(known + possible))
    return (
        Reference(kind="TrainingJob", namespace=job.owner.namespace, name=job.owner.name),
        *_missing_claim(job),
        *pods,
    )


def _missing_claim(job: JobView) -> tuple[Reference, ...]:
    if job.run is None or job.claim is not None:
        return ()
    return (Reference(kind="PersistentVolumeClaim", namespace=job.owner.namespace, name=job.run.checkpoints.claim),)


def _describe_events(before: TrainingJobStatus, after: TrainingJobStatus) -> tuple[EventNote, ...]:
    is_lifted = after.reason == OperatorCause.EXCLUSION_LIFTED != before.reason
    if after.phase is None or (after.phase is before.phase and not is_lifted):
        return ()
    return (
        EventNote(
            reason=after.phase.value,
            message=after.message,
            warning=after.phase in _WARNINGS and not describe_renewal(after),
        ),
    )


def _others(observed: ObservedJob, status: TrainingJobStatus) -> tuple[Reference, ...]:
    """Name the Dataset when it must learn that this job holds it, or no longer does."""
    dataset, is_finished = observed.dataset, status.completion_time is not None
    just_finished = is_finished and observed.status.completion_time is None
    unheld = dataset is not None and names.IN_USE_FINALIZER not in dataset.object.finalizers and not is_finished
    return _dataset_references(observed) if just_finished or unheld else ()


def _dataset_references(observed: ObservedJob) -> tuple[Reference, ...]:
    dataset = observed.dataset
    if dataset is None:
        return ()
    return (Reference(kind="Dataset", namespace=observed.object.namespace, name=dataset.object.name),)
