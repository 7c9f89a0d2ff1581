"""The size of an elastic job: what is wanted, what there is room for, and the scouts that look for more. Pure.

A scout is a pod like a worker of the attempt, with the next rank, that only holds its place: whether there is room for one more
node is for the scheduler alone to say, and to ask it costs the training nothing.
"""

from collections.abc import Iterator
from dataclasses import replace

from oarlock_api.v1alpha1.status import JobPhase
from oarlock_operator.manifests.metadata import Manifest
from oarlock_operator.manifests.scouts import build_scout_pod
from oarlock_operator.policy.causes import OperatorCause
from oarlock_operator.policy.elastic import Resize, compute_growth_start, find_growth, find_shrink, pays_to_grow
from oarlock_operator.policy.refusals import find_refusal, is_busy
from oarlock_operator.policy.times import earliest, parse_time
from oarlock_operator.reconcile.inheriting import mounts_first_weights
from oarlock_operator.reconcile.job_view import JobView
from oarlock_operator.reconcile.permitted import explain_refused_overlay
from oarlock_operator.reconcile.renewing import renew, set_gang
from oarlock_operator.reconcile.steps import JobStep
from oarlock_operator.reconcile.taking_turns import asks_queue


def resize(job: JobView) -> JobStep | None:
    """Change the number of nodes where that costs nothing, or somebody asked for it; None: it stays."""
    if job.old_pods and not job.pods:
        # What is asked for before pods are created reaches back one attempt: the one before must be over first.
        return None
    # Scouts cannot ask another queue for room, so that a gang is given back to it as a whole.
    is_free = job.is_handed_over or not (job.pods or asks_queue(job))
    if job.wanted < job.nodes or (job.wanted > job.nodes and job.is_asked_to_resize and is_free):
        return _resize(job, job.wanted, why=f"spec.workers.nodes is {job.wanted} now")
    due = _find_due_resize(job)
    return _resize(job, due.nodes, why=due.why) if due and due.due <= job.now else None


def grow(job: JobView, following: JobStep) -> JobStep:
    """Let scouts look for room beside the step with which the attempt is followed."""
    if idle := tuple(scout for scout in job.scouts if _is_idle(job, scout.rank) and not scout.deleting):
        return replace(following, delete=idle)
    if job.wanted <= job.nodes or job.is_handed_over or following.phase is not JobPhase.TRAINING:
        return following
    if _gives_precedence(job) or explain_refused_overlay(job):
        return following
    since = _growth_start(job)
    if since is None or job.now < since:
        return following
    reach = _find_reach(job)
    is_room = reach > job.nodes
    says = f"looking for room for {reach} nodes" if is_room else "the budget of the queue has no room for more"
    following = replace(following, message=f"{following.message}; {says}")
    scouts = tuple(_build_scouts(job))
    if refusal := find_refusal(scouts, job.observed.refusals, now=job.now):
        return replace(following, message=f"{following.message}: {refusal.message}", wake_at=refusal.retry_at)
    return replace(following, create=scouts)


def next_resize(job: JobView) -> float | None:
    """Return when the number of nodes may change although nothing is observed, in seconds since 1970."""
    due = _find_due_resize(job)
    is_due = job.wanted > job.nodes and not job.scouts and not job.is_handed_over
    starts = _growth_start(job) if is_due else None
    return earliest(due.due if due else None, starts)


def _resize(job: JobView, nodes: int, *, why: str) -> JobStep:
    return renew(job, OperatorCause.RESIZED, set_gang(job, nodes, why=why))


def _find_due_resize(job: JobView) -> Resize | None:
    """Return what the places say that pods and scouts have found."""
    if job.elastic is None or not job.pods:
        return None
    patience = job.settings.elastic_placement_seconds
    if job.scouts and job.wanted > job.nodes:
        if not _pays(job):
            return None
        sound = [scout for scout in job.scouts if not scout.deleting and scout.node not in job.observed.lost_nodes]
        reach = _find_reach(job)
        return find_growth(sound, nodes=job.nodes, wanted=reach, patience=patience) if reach > job.nodes else None
    refusals = (job.observed.refusals.get(name) for name in job.missing.values())
    refused = sum(1 for refusal in refusals if refusal and not is_busy(refusal))
    return find_shrink(
        tuple(job.pods.values()), nodes=job.nodes, refused=refused, elastic=job.elastic, patience=patience
    )


def _growth_start(job: JobView) -> float | None:
    since = parse_time(job.status.phase_since)
    if job.elastic is None or job.status.phase is not JobPhase.TRAINING or since is None or not job.has_trained:
        return None
    interval, is_asked = job.settings.elastic_growth_seconds, job.is_asked_to_resize
    return compute_growth_start(training_since=since, interval=interval, is_asked=is_asked) if _pays(job) else None


def _pays(job: JobView) -> bool:
    return pays_to_grow(
        eta_seconds=job.report.eta_seconds if job.report else None,
        interval=job.settings.elastic_growth_seconds,
        is_asked=job.is_asked_to_resize,
    )


def _gives_precedence(job: JobView) -> bool:
    """Say whether jobs wait for GPUs in the queue: they come before one that has some and would like more."""
    return job.observed.others_wait and job.run is not None and job.run.workers.gpus_per_node > 0


def _find_reach(job: JobView) -> int:
    """Return how many nodes the job may grow to: those that are wanted, or as many as a budget has room for."""
    if not job.settings.queue_budget or not asks_queue(job):
        return job.wanted
    verdict = job.observed.verdict
    return min(job.wanted, verdict.most) if verdict and verdict.most is not None else job.nodes


def _is_idle(job: JobView, rank: int) -> bool:
    """Say whether a scout is of no use: fewer nodes are wanted now, or it has ended and somebody else may try later."""
    if _gives_precedence(job) or not _pays(job):
        return True
    scout = next(each for each in job.scouts if each.rank == rank)
    ended = scout.phase in ("Succeeded", "Failed")
    # An operator that has decided nothing yet calls nobody back.
    limit = job.wanted if job.observed.verdict is None else _find_reach(job)
    return rank >= limit or (ended and job.now >= scout.created + job.settings.elastic_growth_seconds)


def _build_scouts(job: JobView) -> Iterator[Manifest]:
    there = {scout.rank for scout in job.scouts}
    for rank in range(job.nodes, _find_reach(job)):
        if job.run and rank not in there and job.pod_name(rank) not in job.strangers:
            yield build_scout_pod(
                job.run,
                owner=job.owner,
                attempt=job.status.attempt,
                rank=rank,
                policy=job.policy,
                excluded=job.excluded,
                mounts_first_weights=mounts_first_weights(job),
            )
