"""Models that the operator cannot judge itself are tried in a pod without GPUs before their job is accepted. Pure.

Built-in models are judged by a table. What a library or the user's own code makes is known only by running it, and a job of many
GPUs must not be what finds out. A check that gives no answer holds nothing up: the trainer checks again, and that is said.
"""

from dataclasses import replace

from oarlock_api.contract import Cause, Outcome
from oarlock_api.findings import Finding, describe_findings
from oarlock_api.run import Run
from oarlock_api.v1alpha1.status import JobPhase
from oarlock_operator import names
from oarlock_operator.manifests.model_check import build_model_check_pod
from oarlock_operator.policy.conditions import Aspect
from oarlock_operator.policy.refusals import find_refusal
from oarlock_operator.policy.wait import Surroundings
from oarlock_operator.policy.waiting import explain_wait, wait_for_scheduler
from oarlock_operator.reconcile.job_view import JobView
from oarlock_operator.reconcile.observed import ObservedPod
from oarlock_operator.reconcile.steps import JobStep

_ANSWERS = frozenset({Cause.CONFIG_INVALID, Cause.USER_ERROR})
"""Causes that lie in the model; of any other, training itself says more."""
_ENDED = ("Succeeded", "Failed")


def check_model(job: JobView, run: Run) -> JobStep | None:
    """Return what is awaited or wrong before the model of a run is known to fit; None if it fits, or nobody can tell."""
    outdated = tuple(pod for pod in job.checks if pod.run_hash != run.hash and not pod.deleting)
    if not _is_needed(job, run):
        return None
    pod = next((pod for pod in job.checks if pod.run_hash == run.hash), None)
    if pod is None or (pod.phase not in _ENDED and not _is_lost(job, pod)):
        step = _await_check(job, run, pod)
        return step and replace(step, delete=outdated)
    finding = _read_finding(pod)
    if finding is None:
        return None
    return JobStep(
        phase=JobPhase.INVALID,
        reason="ModelDoesNotFit",
        message=describe_findings([finding]),
        findings=(finding,),
        delete=outdated,
    )


def describe_check(job: JobView) -> Aspect | None:
    """Return that a check of the accepted run gave no answer; None if it did, or there was none."""
    if job.run is None:
        return None
    pod = next((pod for pod in job.checks if pod.run_hash == job.run.hash and pod.phase != "Succeeded"), None)
    if pod is None:
        return None
    record = pod.termination.failure if pod.termination else None
    why = (record or {}).get("message") or pod.container_reason or pod.pod_reason or "its pod was lost"
    return Aspect(
        type="ModelChecked",
        holds=False,
        reason="NoAnswer",
        message=f"pod {pod.name} was to find out whether the model fits and gave no answer ({why}): training finds out",
    )


def _is_needed(job: JobView, run: Run) -> bool:
    """Say whether only the model's code can tell, and GPUs would be taken to run it. On one's own machine nobody waits for them."""
    is_unknown = run.model is not None and run.model.name is None and run.dataset is not None
    return is_unknown and run.workers.gpus_per_node > 0 and not job.settings.is_local


def _is_lost(job: JobView, pod: ObservedPod) -> bool:
    return pod.deleting or pod.node in job.observed.lost_nodes


def _await_check(job: JobView, run: Run, pod: ObservedPod | None) -> JobStep | None:
    """Return the step of a check that has not ended; None if the cluster refuses its pod."""
    manifest = build_model_check_pod(run, owner=job.owner)
    if pod is None and (refusal := find_refusal([manifest], job.observed.refusals, now=job.now)):
        # The pods that train would be refused too, and their job says why; or there is room for them alone.
        return None if not refusal.is_transient else _wait(refusal.message, wake_at=refusal.retry_at)
    name = names.model_check_pod_name(job.owner.name, job.owner.uid, run_hash=run.hash)
    if pod is None:
        return replace(_wait(wait_for_scheduler(name).message), create=(manifest,))
    surroundings = Surroundings(
        claims=job.observed.claims, pod_spec=manifest["spec"], rooms=job.observed.rooms, is_local=job.settings.is_local
    )
    wait = explain_wait([pod], surroundings)
    return _wait(wait.message if wait else f"pod {name} makes it, without a GPU")


def _wait(message: str, *, wake_at: float | None = None) -> JobStep:
    return JobStep(
        phase=JobPhase.WAITING_FOR_DATA,
        reason="ModelBeingChecked",
        message=f"whether the model fits the data set is tried before any GPU is taken: {message}",
        wake_at=wake_at,
    )


def _read_finding(pod: ObservedPod) -> Finding | None:
    record = pod.termination
    if record is None or record.outcome != Outcome.FAILED or record.failure is None:
        return None
    if record.failure.get("cause") not in _ANSWERS:
        return None
    remedy = str(record.failure.get("remedy") or "choose another model")
    return Finding(
        path="spec.model",
        rule="must fit the data set",
        found=str(record.failure.get("message") or "no reason"),
        remedy=f"{remedy}. Apply the change; if only code or an image changed, delete pod {pod.name} to have it tried again",
    )
