"""Starting an attempt: the old pods make room, then the claim, the Service, the PodGroup and the pods are created. Pure."""

from collections.abc import Iterator
from dataclasses import replace

from oarlock_api.v1alpha1.status import JobPhase, TrainingJobStatus
from oarlock_api.v1alpha1.training_job import RunPolicy
from oarlock_operator import names
from oarlock_operator.manifests.claims import build_claim
from oarlock_operator.manifests.metadata import Manifest
from oarlock_operator.manifests.service import build_service
from oarlock_operator.manifests.workers import build_worker_pod
from oarlock_operator.policy.abandoned import is_abandoned, overdue_at
from oarlock_operator.policy.backoff import is_waiting
from oarlock_operator.policy.claims import explain_claim, is_leaving
from oarlock_operator.policy.grace import lengthen_grace
from oarlock_operator.policy.refusals import find_refusal
from oarlock_operator.policy.times import format_time, parse_time
from oarlock_operator.policy.wait import Wait
from oarlock_operator.policy.waiting import explain_wait, wait_for_scheduler
from oarlock_operator.queueing.capacity import BUDGET
from oarlock_operator.reconcile.grouping import build_missing_group
from oarlock_operator.reconcile.inheriting import find_missing_weights, mounts_first_weights
from oarlock_operator.reconcile.job_progress import build_checkpoints
from oarlock_operator.reconcile.job_view import JobView
from oarlock_operator.reconcile.permitted import explain_refused_overlay
from oarlock_operator.reconcile.recovering import describe_restart, fail_refused
from oarlock_operator.reconcile.steps import JobStep
from oarlock_operator.reconcile.surroundings import surround_job


def make_room(job: JobView) -> JobStep | None:
    """Wait until the pods of earlier attempts are gone and the back-off is over; None if both are, or were."""
    if job.pods and not job.missing:
        return None
    lost_nodes = job.observed.lost_nodes
    blocking = [pod for pod in job.old_pods if not is_abandoned(pod, lost_nodes=lost_nodes, now=job.now)]
    lingering = tuple(pod for pod in job.old_pods if not pod.deleting)
    retry_at = parse_time(job.status.retry_after)
    # The queue may have had the job meanwhile, which does not shorten the back-off.
    must_wait = not job.pods and is_waiting(retry_at, now=job.now)
    if not blocking and not lingering and not must_wait:
        return None
    ending = f". Pod {blocking[0].name} of the attempt before is still ending" if blocking else ""
    is_restart = must_wait or job.status.phase is JobPhase.RESTARTING
    return JobStep(
        phase=JobPhase.RESTARTING if is_restart else JobPhase.STARTING,
        reason=_find_restart_reason(job.status) if is_restart else "OldPodsEnding",
        message=(describe_restart(job.status) if is_restart else "resuming") + ending,
        delete=lingering,
        wake_at=retry_at if must_wait else overdue_at(blocking, now=job.now),
    )


def _find_restart_reason(status: TrainingJobStatus) -> str:
    if status.phase is JobPhase.RESTARTING or not status.failures:
        return status.reason
    return status.failures[-1].cause


def sweep(job: JobView, step: JobStep) -> JobStep:
    """Remove old pods beside the step with which the attempt is followed: they came back with their node, or came late.

    So go those that were to find out whether the model fits.
    """
    lingering = tuple(pod for pod in (*job.old_pods, *job.checks) if not pod.deleting)
    return replace(step, delete=(*step.delete, *lingering)) if lingering else step


def start(job: JobView) -> JobStep | None:
    """Create what the attempt lacks; None if all its pods are there."""
    if job.run is None or not (job.missing or _must_restore_claim(job)):
        return None
    if wait := _find_obstacle(job):
        return JobStep(
            phase=JobPhase.STARTING,
            reason=wait.reason,
            message=wait.message,
            confirm=wait.reason == "ClaimLost" != job.status.reason,
        )
    children = tuple(_build_children(job))
    if refusal := find_refusal(children, job.observed.refusals, now=job.now):
        if refusal.is_final:
            return fail_refused(job, refusal.message)
        if not refusal.is_transient:
            return JobStep(
                phase=JobPhase.STARTING, reason=refusal.reason, message=refusal.message, wake_at=refusal.retry_at
            )
    busy = Wait(reason=refusal.reason, message=refusal.message) if refusal else None
    wait = (
        busy
        or explain_wait(job.pods.values(), surround_job(job))
        or wait_for_scheduler(job.pod_name(min(job.missing, default=0)))
    )
    return JobStep(
        phase=JobPhase.STARTING,
        reason=wait.reason,
        message=count_pods(job, wait.message),
        changes={} if job.status.start_time else {"start_time": format_time(job.now)},
        create=children,
        confirm=job.status.attempt > 0,
    )


def count_pods(job: JobView, message: str) -> str:
    """Put before a message how many pods run, where there are several."""
    return f"{job.up} of {job.nodes} pods run; {message}" if job.nodes > 1 else message


def _find_obstacle(job: JobView) -> Wait | None:
    """Return what is in the way of the children: what the administrator no longer allows, and whoever has their names."""
    if refused := explain_refused_overlay(job):
        return Wait(reason="OverlayRefused", message=refused)
    for name in job.missing.values():
        if name in job.strangers:
            return _taken("pod", name)
    service, run = job.observed.service, job.run
    if service and run and job.nodes > 1:
        if service.owner_uid != job.owner.uid:
            return _taken("service", service.name)
        if service.deleting:
            return Wait(
                reason="ServiceTerminating", message=f"service {service.name} is being deleted; waiting for its end"
            )
    if wait := _find_group_obstacle(job):
        return wait
    return (_find_claim_obstacle(job) if run and run.checkpoints.created else None) or find_missing_weights(job)


def _find_group_obstacle(job: JobView) -> Wait | None:
    """Return why the PodGroup of the attempt can neither be used nor created."""
    group = job.pod_group
    if group is None or job.group_scheduler is None:
        return None
    if group.owner_uid != job.owner.uid:
        return _taken("podgroup", group.name)
    if group.deleting:
        return Wait(
            reason="PodGroupTerminating", message=f"podgroup {group.name} is being deleted; waiting for its end"
        )
    return None


def _find_claim_obstacle(job: JobView) -> Wait | None:
    """Return why the claim that the run creates can neither be used nor created."""
    if job.claim:
        return explain_claim(job.claim, label=names.JOB_LABEL, owner=job.owner)
    if not job.may_have_checkpoints or job.run is None:
        return None
    name, latest = job.run.checkpoints.claim, build_checkpoints(job).latest
    lost = f"with the checkpoint of step {latest.step}" if latest else "on which pods of this job have worked"
    return Wait(
        reason="ClaimLost",
        message=f"claim {name} {lost} is gone. Restore it with the labels {names.MANAGED_BY_LABEL}={names.MANAGED_BY} and"
        f" {names.JOB_LABEL}={job.owner.name}, or delete the job and apply it again to begin anew",
    )


def _must_restore_claim(job: JobView) -> bool:
    """Say whether pods wait in vain for a claim that the run creates: while one of them runs, the claim cannot be gone."""
    created = job.run is not None and job.run.checkpoints.created
    waits = any(pod.phase == "Pending" for pod in job.pods.values())
    return created and waits and not job.up and (job.claim is None or is_leaving(job.claim, owner=job.owner))


def _taken(kind: str, name: str) -> Wait:
    return Wait(
        reason="NameTaken",
        message=f"{kind} {name} exists and does not belong to this job. Delete it, or rename the job",
    )


def _build_children(job: JobView) -> Iterator[Manifest]:
    run = job.run
    if run is None:
        return
    checkpoints = run.checkpoints
    if checkpoints.created and job.claim is None:
        yield build_claim(
            checkpoints.claim,
            owner=job.owner,
            component="checkpoints",
            size=checkpoints.size,
            storage_class=checkpoints.storage_class,
            access_modes=checkpoints.access_modes,
            retain=checkpoints.retain,
        )
    if job.nodes > 1 and job.observed.service is None:
        yield build_service(job.owner, status_port=run.workers.status_port)
    yield from build_missing_group(job)
    policy, scheduler = _build_policy(job), job.group_scheduler
    for rank in job.missing:
        yield build_worker_pod(
            run,
            owner=job.owner,
            attempt=job.status.attempt,
            rank=rank,
            nodes=job.nodes,
            policy=policy,
            excluded=job.excluded,
            preferred=_find_preferred(job),
            scheduler=scheduler,
            mounts_first_weights=mounts_first_weights(job),
        )


def _build_policy(job: JobView) -> RunPolicy:
    """Return how the pods that are created now are to be treated."""
    progress, scheduler = job.status.progress, job.group_scheduler
    save_seconds = progress.metrics.get("checkpointDurableSeconds") if progress else None
    policy = lengthen_grace(job.policy, save_seconds=save_seconds)
    # A queue of the group's scheduler is none of Kueue's.
    return policy.model_copy(update={"queue": None}) if scheduler and scheduler.has_queues else policy


def _find_preferred(job: JobView) -> tuple[str, ...]:
    """Return the nodes on which the queue found room: a budget names none, and a scheduler fails of what is no name."""
    verdict = job.observed.verdict
    return tuple(node for node in verdict.nodes if node != BUDGET) if verdict else ()
