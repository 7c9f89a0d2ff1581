"""What is taken away under pods that run: the Service by which they find each other, the claims that they write to. Pure.

Training goes on as long as it can; what is said here explains what fails later, and asks for help before that.
"""

from collections.abc import Iterator
from dataclasses import replace

from oarlock_api.v1alpha1.status import JobPhase
from oarlock_operator import names
from oarlock_operator.manifests.first_weights import find_earlier_claim
from oarlock_operator.manifests.service import build_service
from oarlock_operator.policy.conditions import Aspect, find_condition
from oarlock_operator.policy.refusals import find_refusal
from oarlock_operator.policy.volumes import describe_claim
from oarlock_operator.reconcile.following import follow
from oarlock_operator.reconcile.grouping import build_missing_group, wait_for_group
from oarlock_operator.reconcile.inheriting import needs_first_weights
from oarlock_operator.reconcile.job_view import JobView
from oarlock_operator.reconcile.observed import ObservedClaim
from oarlock_operator.reconcile.steps import JobStep

_RUNNING = (JobPhase.STARTING, JobPhase.RENDEZVOUS, JobPhase.TRAINING)


def restore_service(job: JobView) -> JobStep | None:
    """Create the Service again that somebody deleted under running pods; None if it is there, or not needed."""
    if job.run is None or not _lacks_service(job):
        return None
    service = build_service(job.owner, status_port=job.run.workers.status_port)
    return replace(follow(job), create=(service,))


def restore_group(job: JobView) -> JobStep | None:
    """Create the PodGroup again that somebody deleted under pods that wait or run; None if it is there, or not needed."""
    # Until the groups are listed, one that is not known need not be missing.
    group = build_missing_group(job) if job.pods and job.observed.pod_groups is not None else ()
    if not group:
        return None
    waiting, refusal = wait_for_group(job), find_refusal(group, job.observed.refusals, now=job.now)
    if refusal is None:
        return replace(waiting or follow(job), create=group)
    if waiting is None:
        return None  # pods that run do not need it
    return replace(waiting, reason=refusal.reason, message=refusal.message, wake_at=refusal.retry_at)


def _lacks_service(job: JobView) -> bool:
    return job.nodes > 1 and job.up == job.nodes and job.observed.service is None


def describe_hazards(job: JobView, step: JobStep) -> Iterator[Aspect]:
    """Yield what is wrong below pods that run, and what was and is mended."""
    if step.phase not in _RUNNING or job.run is None or not job.up:
        return
    service = names.service_name(job.owner.name, job.owner.uid)
    if _lacks_service(job):
        yield Aspect(
            type="ServicePresent",
            holds=False,
            reason="ServiceDeleted",
            message=f"service {service} was deleted: it is created again. Ranks that have met go on",
        )
    elif find_condition(job.status.conditions, "ServicePresent"):
        yield Aspect(
            type="ServicePresent",
            holds=True,
            reason="ServiceRestored",
            message=f"service {service} was deleted under running pods, and created again. Look for who deletes it",
        )
    yield from _describe_claims(job)


def _describe_claims(job: JobView) -> Iterator[Aspect]:
    if job.run is None:
        return
    data = job.run.dataset.claim if job.run.dataset else None
    first = find_earlier_claim(job.run) if needs_first_weights(job) else None
    needed = dict.fromkeys(filter(None, (data, job.run.checkpoints.claim, first)))
    troubled = [claim for name in needed if (claim := job.observed.claims.get(name)) and _is_troubled(claim)]
    if troubled:
        reason = "ClaimLost" if troubled[0].phase == "Lost" else "ClaimTerminating"
        use = ". Its weights are needed until this job has a checkpoint of its own" if troubled[0].name == first else ""
        yield Aspect(type="ClaimsUsable", holds=False, reason=reason, message=f"{_describe_loss(troubled[0])}{use}")


def _is_troubled(claim: ObservedClaim) -> bool:
    return claim.phase == "Lost" or claim.deleting


def _describe_loss(claim: ObservedClaim) -> str:
    if claim.phase == "Lost":
        return f"{describe_claim(claim)}. Pods that have it mounted may go on until they write; new ones will not start"
    return (
        f"claim {claim.name} is being deleted, and goes with what is on it once no pod uses it. Copy what is needed while the pods"
        " run, or keep its volume by setting its persistentVolumeReclaimPolicy to Retain"
    )
