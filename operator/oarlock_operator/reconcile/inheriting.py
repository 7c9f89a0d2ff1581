"""A job that begins with the weights of another one waits until that one has finished. Pure."""

from collections.abc import Mapping

from oarlock_api.model_rules import EarlierJob
from oarlock_api.v1alpha1.status import FINISHED_JOB_PHASES, JobPhase
from oarlock_operator.reconcile.job_view import JobView
from oarlock_operator.reconcile.observed import ObservedEarlierJob
from oarlock_operator.reconcile.steps import JobStep

LOOK_AGAIN_SECONDS = 5.0
"""Nothing tells a job of what becomes of another one: it looks itself."""


def wait_for_earlier_job(job: JobView) -> JobStep | None:
    """Return what a job waits for before it can begin with the weights of the job that it names; None: nothing."""
    model = job.spec.model if job.spec else None
    name = model.init_from.job if model and model.init_from else None
    if name is None:
        return None
    earlier = job.observed.earlier
    if name == job.owner.name:
        return _wait(job, "InitJobIsItself", "a job cannot begin with its own weights. Correct model.initFrom.job")
    if earlier is None:
        return _wait(
            job,
            "InitJobMissing",
            f"there is no TrainingJob {name} in this namespace. Apply it, or correct model.initFrom.job; the weights of a "
            "job that was deleted can be taken by model.initFrom.path, if its volume is there",
        )
    if earlier.status.phase not in FINISHED_JOB_PHASES:
        phase = earlier.status.phase or JobPhase.QUEUED
        return _wait(job, "InitJobUnfinished", f"TrainingJob {name}, whose weights it begins with, is {phase}")
    saved = earlier.status.checkpoint
    if describe_earlier_job(earlier) is None or saved is None or (saved.best is None and saved.latest is None):
        return _wait(
            job,
            "InitJobWithoutCheckpoint",
            f"TrainingJob {name} has finished and left no checkpoint. Correct model.initFrom, or train it again",
        )
    return None


def describe_earlier_job(earlier: ObservedEarlierJob | None) -> EarlierJob | None:
    """Return where a finished job left its weights; None if it never ran."""
    run = earlier.status.run if earlier else None
    checkpoints = run.get("checkpoints") if run else None
    claim = checkpoints.get("claim") if isinstance(checkpoints, Mapping) else None
    if earlier is None or not isinstance(claim, str):
        return None
    return EarlierJob(uid=earlier.object.uid, claim=claim)


def _wait(job: JobView, reason: str, message: str) -> JobStep:
    return JobStep(
        phase=JobPhase.WAITING_FOR_DATA, reason=reason, message=message, wake_at=job.now + LOOK_AGAIN_SECONDS
    )
