"""A gang as one PodGroup of another scheduler: made before its pods, watched while it waits, deleted with its attempt. Pure."""

from oarlock_api.v1alpha1.status import FINISHED_JOB_PHASES, JobPhase, TrainingJobStatus
from oarlock_operator.manifests import pod_groups
from oarlock_operator.manifests.metadata import Manifest
from oarlock_operator.manifests.pod_groups import GroupScheduler, build_pod_group
from oarlock_operator.policy.bounds import clip
from oarlock_operator.policy.times import earliest, format_time
from oarlock_operator.policy.wait import MAX_SAID, Wait
from oarlock_operator.policy.waiting import explain_wait
from oarlock_operator.reconcile.excluding import next_lift
from oarlock_operator.reconcile.job_view import JobView
from oarlock_operator.reconcile.plans import Deletion, Reference
from oarlock_operator.reconcile.steps import JobStep
from oarlock_operator.reconcile.surroundings import surround_job

SILENCE_SECONDS = 10.0
"""Seconds after which a scheduler that has said nothing of the pods may not be there at all."""
_OF_ROOM = frozenset({"Unschedulable", "Scheduling"})
"""Reasons why a pod has no node that the scheduler alone sees to."""


def build_missing_group(job: JobView) -> tuple[Manifest, ...]:
    """Return the PodGroup of the attempt if it is to be created, and nothing if it is there, or not needed."""
    scheduler, run = job.group_scheduler, job.run
    if scheduler is None or run is None or job.pod_group is not None:
        return ()
    group = build_pod_group(
        scheduler, run, owner=job.owner, attempt=job.status.attempt, nodes=job.nodes, queue=job.policy.queue
    )
    return (group,)


def wait_for_group(job: JobView) -> JobStep | None:
    """Say what the group's scheduler says while none of its pods has a node; None if there is nothing to wait for there."""
    scheduler, pods = job.group_scheduler, tuple(job.pods.values())
    if scheduler is None or not pods or any(pod.scheduled or pod.phase != "Pending" for pod in pods):
        return None
    wait = explain_wait(pods, surround_job(job))
    if wait and wait.reason not in _OF_ROOM:
        return None  # a claim, say, which no scheduler can mend
    if job.observed.pod_groups is None and job.status.phase is JobPhase.QUEUED:
        # Until the groups are listed, as after a restart of the operator, what was said before holds.
        return JobStep(phase=JobPhase.QUEUED, reason=job.status.reason, message=job.status.message)
    said, created = _repeat(job, wait), max(pod.created for pod in pods)
    is_silent = not said and job.now >= created + SILENCE_SECONDS
    what = _describe_silence(job, scheduler, since=created) if is_silent else _describe_waiting(job, scheduler, said)
    return JobStep(
        phase=JobPhase.QUEUED,
        reason="SchedulerSilent" if is_silent else scheduler.reason,
        message=f"{what}. `kubectl describe {scheduler.definition} {job.pod_group_name}` says where it stands",
        wake_at=earliest(None if said or is_silent else created + SILENCE_SECONDS, next_lift(job)),
    )


def list_old_groups(job: JobView, status: TrainingJobStatus) -> tuple[Deletion, ...]:
    """Return the deletions of PodGroups whose attempt is over: those that are left count against a queue for ever.

    Args:
        job: the job.
        status: what its status will be.
    """
    needs_none = status.phase in {*FINISHED_JOB_PHASES, JobPhase.SUSPENDED}
    over = [
        group
        for group in job.observed.pod_groups or ()
        if group.owner_uid == job.owner.uid and not group.deleting and (needs_none or group.attempt != status.attempt)
    ]
    return tuple(
        Deletion(
            reference=Reference(kind=pod_groups.KIND, namespace=job.owner.namespace, name=group.name), uid=group.uid
        )
        for group in over
    )


def _repeat(job: JobView, wait: Wait | None) -> str:
    """Return what the scheduler says of the group, and why a pod finds no node; empty if it has said nothing."""
    group = job.pod_group
    of_group = clip(group.message.rstrip("."), MAX_SAID) if group else ""
    of_pods = wait.message if wait and wait.reason == "Unschedulable" else ""
    said = "; ".join(filter(None, (of_group, of_pods)))
    phase = f"PodGroup {job.pod_group_name} is {group.phase}: " if group and group.phase and said else ""
    return phase + said.rstrip(".")


def _describe_waiting(job: JobView, scheduler: GroupScheduler, said: str) -> str:
    names = [pod.name for pod in job.pods.values()]
    held = f"pod {names[0]}" if len(names) == 1 else f"all {len(names)} pods, {names[0]} first,"
    queue = f" in queue {job.policy.queue}" if scheduler.has_queues and job.policy.queue else ""
    words = f": {said}" if said else ""
    return f"{scheduler.title} holds {held} back until there is room for the whole gang{queue}{words}"


def _describe_silence(job: JobView, scheduler: GroupScheduler, *, since: float) -> str:
    checks = ["it runs", "queue.schedulerName of the chart is its name"]
    if scheduler.has_queues:
        checks.append(f"its queue {job.policy.queue or 'default'} is there and open")
    return (
        f"scheduler {scheduler.scheduler} has said nothing of PodGroup {job.pod_group_name} and its pods since"
        f" {format_time(since)}. Check that {', '.join(checks[:-1])}, and that {checks[-1]}"
    )
