"""What the queue decides of a job, done: it waits, or it gives its place to another one. Pure.

The verdict is a condition of the status, written before any pod: a job that holds it holds its place, whatever becomes of the
operator. A job that is preempted is treated as one that is suspended: its pods are deleted at once and checkpoint within their
grace period, and its next attempt costs no restart.
"""

from dataclasses import replace

from oarlock_api.v1alpha1.status import JobPhase, QueueStatus
from oarlock_operator.policy.amounts import parse_amount
from oarlock_operator.policy.causes import OperatorCause
from oarlock_operator.policy.conditions import find_condition, holds
from oarlock_operator.policy.phases import ACTIVE
from oarlock_operator.policy.times import format_time
from oarlock_operator.queueing.capacity import parse_budget
from oarlock_operator.queueing.demand import find_needs
from oarlock_operator.queueing.verdicts import QUEUE_OFF, Stand, Verdict
from oarlock_operator.reconcile.job_progress import build_checkpoints
from oarlock_operator.reconcile.job_view import JobView
from oarlock_operator.reconcile.plans import Reference
from oarlock_operator.reconcile.renewing import raise_attempt, set_gang
from oarlock_operator.reconcile.steps import JobStep

KUEUE_PATIENCE_SECONDS = 60.0
"""Seconds after which it is looked for again."""


def give_way(job: JobView) -> JobStep | None:
    """Remove the pods of a job whose place another one gets; None if it keeps it."""
    verdict = job.observed.verdict
    if verdict is None or verdict.stand is not Stand.PREEMPTED or not _holds_place(job):
        return None
    namespace, _, name = verdict.winner.partition("/")
    pods = tuple(pod for pod in job.all_pods if not pod.deleting)
    latest = build_checkpoints(job).latest
    safe = f"; step {latest.step} is safe" if latest else ""
    ending = f". Its {len(pods)} pods checkpoint and end" if len(pods) > 1 else ". Its pod checkpoints and ends"
    return JobStep(
        phase=JobPhase.QUEUED,
        reason="Preempted",
        message=f"{verdict.message}{safe}{ending if pods else ''}. It goes on when there is room again",
        changes={
            "attempt": raise_attempt(job),
            **(set_gang(job, job.wanted, why="the job was preempted") if job.wanted != job.nodes else {}),
            "queue": QueueStatus(since=format_time(job.now), preempted_by=verdict.winner),
        },
        delete=pods,
        confirm=True,
        # Nobody is preempted for a job that is gone, or suspended meanwhile.
        witnesses=(Reference(kind="TrainingJob", namespace=namespace, name=name),),
    )


def wait_turn(job: JobView) -> JobStep | None:
    """Wait for a place; None if the job has one, or needs none."""
    verdict = _find_verdict(job)
    if _holds_place(job) or not needs_place(job):
        return None
    if verdict and verdict.stand is Stand.ADMITTED:
        return _begin_smaller(job, verdict)
    is_known = job.status.queue is not None and job.status.phase is JobPhase.QUEUED
    step = _go_on_waiting(job) if verdict is None and is_known else _stand_in_line(job, verdict)
    # Whoever asks for another number of nodes while the job has none asks the queue.
    resized = (
        set_gang(job, job.wanted, why=f"spec.workers.nodes is {job.wanted} now") if job.wanted != job.nodes else {}
    )
    lingering = tuple(pod for pod in job.all_pods if not pod.deleting)
    return replace(step, changes={**step.changes, **resized}, delete=lingering)


def _go_on_waiting(job: JobView) -> JobStep:
    """Say again what was said before: as far as known it still holds."""
    return JobStep(
        phase=JobPhase.QUEUED,
        reason=job.status.reason,
        message=job.status.message,
        changes={"queue": job.status.queue},
    )


def _stand_in_line(job: JobView, verdict: Verdict | None) -> JobStep:
    queue = job.status.queue
    preempted_by = queue.preempted_by if queue else ""
    reason, message = _describe(job, verdict)
    is_lifted = verdict is not None and verdict.avoids_too_much
    return JobStep(
        phase=JobPhase.QUEUED,
        reason="Preempted" if preempted_by and not is_lifted else reason,
        message=f"{message}; preempted by job {preempted_by}" if preempted_by else message,
        changes={
            "queue": QueueStatus(
                position=verdict.position if verdict else None,
                expected_start=_round_time(verdict.expected_start) if verdict else None,
                since=queue.since if queue else format_time(job.now),
                preempted_by=preempted_by,
            ),
            **({"excluded_nodes": []} if is_lifted else {}),
        },
        wake_at=job.now + KUEUE_PATIENCE_SECONDS if job.is_handed_over else None,
    )


def _begin_smaller(job: JobView, verdict: Verdict) -> JobStep | None:
    """Have an elastic job begin with the nodes that it was granted, where those are fewer than it wants."""
    granted = len(verdict.nodes)
    if job.elastic is None or not 0 < granted < job.nodes:
        return None
    return JobStep(
        phase=JobPhase.STARTING,
        reason="Admitted",
        message=f"there is room for {granted} of {job.wanted} nodes",
        changes={
            "attempt": raise_attempt(job),
            **set_gang(job, granted, why=f"there was room for {granted} of {job.wanted} nodes"),
        },
        confirm=True,
    )


def needs_place(job: JobView) -> bool:
    """Say whether a job has to wait for anything that is counted: CPU-only jobs are the scheduler's, unless a budget names them."""
    if job.is_handed_over:
        return True
    if job.run is None:
        return False
    workers = job.run.workers
    needs = find_needs(
        gpus=workers.gpus_per_node,
        gpu_resource=workers.gpu_resource,
        cpu=workers.cpu,
        memory=parse_amount(workers.memory),
        budget=parse_budget(job.settings.queue_budget) if job.settings.queue_budget else None,
    )
    return bool(needs)


def asks_queue(job: JobView) -> bool:
    """Say whether Oarlock's own queue decides how much the job may have."""
    verdict = job.observed.verdict
    return needs_place(job) and not job.is_handed_over and (verdict is None or verdict.reason != QUEUE_OFF)


def wait_for_kueue(job: JobView) -> JobStep | None:
    """Say that Kueue holds the pods back; None if it does not."""
    gated = [pod.name for pod in job.pods.values() if pod.is_gated]
    scheduler = job.group_scheduler
    if not gated or not job.policy.queue or (scheduler and scheduler.has_queues):
        return None
    pods = f"pod {gated[0]}" if len(gated) == 1 else f"{len(gated)} pods, {gated[0]} first,"
    return JobStep(
        phase=JobPhase.QUEUED,
        reason="QueuedByKueue",
        message=f"Kueue holds {pods} back until queue {job.policy.queue} has room. `kubectl get workloads` says where it stands",
    )


def _holds_place(job: JobView) -> bool:
    """Whether a job was admitted; one that has pods was, whatever became of the condition."""
    known = find_condition(job.status.conditions, "Admitted")
    was_before_queues = known is None and job.status.phase in ACTIVE
    return bool(job.pods) or was_before_queues or holds(job.status.conditions, "Admitted")


def _find_verdict(job: JobView) -> Verdict | None:
    """Return what is decided of the job as it is now: None as well if that is of nodes which it avoids no more."""
    verdict = job.observed.verdict
    return None if verdict and verdict.avoids_too_much and not job.excluded else verdict


def _describe(job: JobView, verdict: Verdict | None) -> tuple[str, str]:
    if verdict is None or verdict.stand is Stand.PREEMPTED:
        return "Queued", "waiting for its turn to be considered"
    if verdict.avoids_too_much:
        nodes = ", ".join(job.excluded)
        return (
            OperatorCause.EXCLUSION_LIFTED,
            f"it fits nowhere without the nodes that it avoids ({nodes}), and may use them again",
        )
    ending = [pod for pod in job.all_pods if pod.deleting]
    said = f"; {len(ending)} pods of the attempt before still end" if ending else ""
    return verdict.reason, verdict.message + said


def _round_time(time: float | None) -> str | None:
    """Return a time to the minute: an estimate that changes with every second is written for nobody."""
    return None if time is None else format_time(round(time / 60) * 60)
