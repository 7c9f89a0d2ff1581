"""A job that begins with the weights of another one: it waits for that one, and needs its volume until it has a checkpoint. Pure.

A run that resumes never looks at the first weights again: what is not needed is not mounted, so that the earlier job and its
volume may go. Pods that find neither a checkpoint nor the first weights end with an error; none begins at random.
"""

from collections.abc import Mapping

from oarlock_api.contract import Cause
from oarlock_api.model_rules import EarlierJob
from oarlock_api.v1alpha1.status import FINISHED_JOB_PHASES, JobPhase
from oarlock_operator.manifests.first_weights import find_earlier_claim
from oarlock_operator.policy.claims import explain_weights_claim
from oarlock_operator.policy.wait import Wait
from oarlock_operator.reconcile.job_progress import build_checkpoints
from oarlock_operator.reconcile.job_view import JobView
from oarlock_operator.reconcile.observed import ObservedEarlierJob
from oarlock_operator.reconcile.steps import JobStep

LOOK_AGAIN_SECONDS = 5.0
"""Nothing tells a job of what becomes of another one: it looks itself."""


def wait_for_earlier_job(job: JobView) -> JobStep | None:
    """Return what a job waits for before it can begin with the weights of the job that it names; None: nothing."""
    model = job.spec.model if job.spec else None
    name = model.init_from.job if model and model.init_from else None
    wait = _explain_earlier_job(job, name) if name else None
    if wait is None:
        return None
    return JobStep(
        phase=JobPhase.WAITING_FOR_DATA,
        reason=wait.reason,
        message=wait.message,
        wake_at=job.now + LOOK_AGAIN_SECONDS,
    )


def _explain_earlier_job(job: JobView, name: str) -> Wait | None:
    """Return why the weights of the job `name` are not to be had now; None if they are."""
    earlier = job.observed.earlier
    if name == job.owner.name:
        return Wait(
            reason="InitJobIsItself", message="a job cannot begin with its own weights. Correct model.initFrom.job"
        )
    if earlier is None:
        return Wait(
            reason="InitJobMissing",
            message=f"there is no TrainingJob {name} in this namespace. Apply it, or correct model.initFrom.job; the weights"
            " of a job that was deleted can be taken by model.initFrom.path, if its volume is there",
        )
    if earlier.object.deleting:
        return Wait(
            reason="InitJobTerminating",
            message=f"TrainingJob {name}, whose weights it begins with, is being deleted. Apply it again once it is gone, or"
            " correct model.initFrom",
        )
    if earlier.status.phase not in FINISHED_JOB_PHASES:
        phase = earlier.status.phase or JobPhase.QUEUED
        return Wait(
            reason="InitJobUnfinished",
            message=f"TrainingJob {name}, whose weights it begins with, is {phase}. This one goes on once that one has finished",
        )
    return _explain_kept_weights(job, earlier, name)


def _explain_kept_weights(job: JobView, earlier: ObservedEarlierJob, name: str) -> Wait | None:
    """Return why what a finished job left cannot be used; None if it can."""
    described, saved = describe_earlier_job(earlier), earlier.status.checkpoint
    if described is None or saved is None or (saved.best is None and saved.latest is None):
        return Wait(
            reason="InitJobWithoutCheckpoint",
            message=f"TrainingJob {name} has finished and left no checkpoint. Correct model.initFrom, or train it again",
        )
    return explain_weights_claim(job.observed.claims.get(described.claim), name=described.claim, job=name)


def find_missing_weights(job: JobView) -> Wait | None:
    """Return why pods that are created now could not begin; None if they can, or have a checkpoint to begin with."""
    return _explain_earlier_claim(job) if needs_first_weights(job) else None


def needs_first_weights(job: JobView) -> bool:
    """Say whether an attempt that starts now needs the volume of the earlier job: there is no checkpoint to resume from."""
    return job.run is not None and find_earlier_claim(job.run) is not None and build_checkpoints(job).latest is None


def mounts_first_weights(job: JobView) -> bool:
    """Say whether pods that are created now mount the volume of the earlier job."""
    if job.run is None or find_earlier_claim(job.run) is None:
        return False
    # Somebody may have deleted checkpoints that could not be used, which is how a run begins anew.
    failures = job.status.failures
    may_begin_anew = bool(failures) and failures[-1].cause == Cause.STORAGE_FAILED
    return needs_first_weights(job) or (may_begin_anew and _explain_earlier_claim(job) is None)


def _explain_earlier_claim(job: JobView) -> Wait | None:
    claim = find_earlier_claim(job.run) if job.run else None
    init_from = job.run.model.init_from if job.run and job.run.model else None
    if claim is None:
        return None
    named = init_from.job if init_from and init_from.job else "of before"
    return explain_weights_claim(job.observed.claims.get(claim), name=claim, job=named)


def describe_earlier_job(earlier: ObservedEarlierJob | None) -> EarlierJob | None:
    """Return where a finished job left its weights; None if it never ran."""
    run = earlier.status.run if earlier else None
    checkpoints = run.get("checkpoints") if run else None
    claim = checkpoints.get("claim") if isinstance(checkpoints, Mapping) else None
    if earlier is None or not isinstance(claim, str):
        return None
    return EarlierJob(uid=earlier.object.uid, claim=claim)
