"""A job whose past is not in its status: deleted and applied again, restored from a backup, or with a status that was lost. Pure.

A new UID is a new run, with a folder of its own on the volume: nothing of the old one is taken over or overwritten in silence,
and the status says that there was one. A status that was lost under the same UID is taken up by what the pods show.
"""

from dataclasses import replace

from oarlock_api.run import Run
from oarlock_api.v1alpha1.status import JobPhase
from oarlock_operator import names
from oarlock_operator.reconcile.job_view import JobView
from oarlock_operator.reconcile.steps import JobStep

_BEGINNING = frozenset({JobPhase.QUEUED, JobPhase.STARTING, JobPhase.RENDEZVOUS})


def introduce(job: JobView, step: JobStep) -> JobStep:
    """Add to what a job says at its beginning that it had an earlier life."""
    if step.phase not in _BEGINNING or job.status.restart_count or job.run is None:
        return step
    earlier = _describe_lost_status(job) or _describe_earlier_job(job)
    return replace(step, message=f"{step.message}. {earlier}") if earlier else step


def find_attempt(job: JobView, run: Run) -> int:
    """Return the attempt with which a run begins: beyond that of all pods that the status knows nothing of, or theirs.

    Pods that were built from the very same run train what is wanted, and go on; those of an elastic job may be of any number,
    and scouts, which only the lost status could tell.
    """
    own = [pod for pod in job.all_pods if pod.attempt >= 0]
    latest = max((pod.attempt for pod in own), default=-1)
    if latest < job.status.attempt:
        return job.status.attempt
    is_same = run.workers.elastic is None and all(
        pod.run_hash == run.hash and not pod.deleting for pod in own if pod.attempt == latest
    )
    return latest if is_same else latest + 1


def _describe_lost_status(job: JobView) -> str:
    if job.status.phase is not None or not job.all_pods:
        return ""
    pods = sorted(pod.name for pod in job.all_pods)
    return (
        f"The status of this job was lost while pods of it were there, {pods[0]} first: restarts are counted anew from attempt"
        f" {job.status.attempt}"
    )


def _describe_earlier_job(job: JobView) -> str:
    """Return what shows that there was another job of this name; empty if nothing does."""
    others = sorted(pod.name for pod in job.strangers.values() if pod.attempt >= 0)
    claim = job.claim
    is_older = claim is not None and 0 < claim.created < job.observed.object.created
    left = claim.name if claim and is_older and claim.labels.get(names.JOB_LABEL) == job.owner.name else ""
    if not others and not left:
        return ""
    what = " and ".join([*([f"claim {left}"] if left else []), *([f"pod {others[0]}"] if others else [])])
    return (
        f"This is a new run from the beginning: {what} was left by an earlier job of this name, whose status is gone. What that"
        " one trained stays where it is"
    )
