"""The conditions of a job. One that nothing decides yet is not said at all. Pure."""

from collections.abc import Iterator

from oarlock_api.contract import PodPhase
from oarlock_api.findings import Finding, describe_findings
from oarlock_api.v1alpha1.status import FINISHED_JOB_PHASES, JobPhase
from oarlock_operator.policy.conditions import Aspect, find_condition
from oarlock_operator.policy.times import format_time
from oarlock_operator.queueing.verdicts import Stand
from oarlock_operator.reconcile.checking import describe_check
from oarlock_operator.reconcile.hazards import describe_hazards
from oarlock_operator.reconcile.job_view import JobView
from oarlock_operator.reconcile.node_clocks import describe_clocks
from oarlock_operator.reconcile.steps import JobStep

SILENCE_SECONDS = 20.0
"""Seconds without an answer after which progress counts as unknown."""


def describe_conditions(job: JobView, step: JobStep) -> Iterator[Aspect]:
    """Yield the conditions that hold or do not hold, in the order of a job's life."""
    yield _describe_validity(job, step.findings or job.findings)
    yield from _describe_dataset(job, step)
    yield from _describe_check(job)
    yield from _describe_admission(job, step)
    yield from _describe_suspension(job, step)
    yield from describe_hazards(job, step)
    yield from describe_clocks(job)
    yield from _describe_progress(job, step)
    if step.phase is JobPhase.SUCCEEDED:
        yield Aspect(type="Complete", holds=True, reason=step.reason, message=step.message)
    if step.phase is JobPhase.FAILED:
        yield Aspect(type="Failed", holds=True, reason=step.reason, message=step.message)


def _describe_validity(job: JobView, findings: tuple[Finding, ...]) -> Aspect:
    if job.is_unreadable:
        return Aspect(type="Valid", holds=False, reason="RunUnreadable", message="status.run cannot be read")
    frozen = "; the run goes on as it was accepted" if job.run else ""
    if findings:
        return Aspect(type="Valid", holds=False, reason="InvalidSpec", message=describe_findings(findings) + frozen)
    if job.change:
        return Aspect(type="Valid", holds=False, reason="SpecChanged", message=f"{job.change}{frozen}")
    return Aspect(type="Valid", holds=True, reason="Accepted" if job.run else "Valid")


def _describe_dataset(job: JobView, step: JobStep) -> Iterator[Aspect]:
    if job.run:
        if data := job.run.dataset:
            yield Aspect(
                type="DatasetReady", holds=True, reason="Frozen", message=f"{data.name}, version {data.version}"
            )
    elif step.phase is JobPhase.WAITING_FOR_DATA:
        kinds = {"InitJob": "InitialWeightsReady", "Model": "ModelChecked"}
        kind = next((kinds[start] for start in kinds if step.reason.startswith(start)), "DatasetReady")
        yield Aspect(type=kind, holds=False, reason=step.reason, message=step.message)


def _describe_check(job: JobView) -> Iterator[Aspect]:
    """Yield that a check of the model gave no answer, also once its pod is gone."""
    known = find_condition(job.status.conditions, "ModelChecked")
    if said := describe_check(job):
        yield said
    elif job.run and known and known.reason == "NoAnswer":
        yield Aspect(type=known.type, holds=False, reason=known.reason, message=known.message)


def _describe_admission(job: JobView, step: JobStep) -> Iterator[Aspect]:
    """Yield whether the job holds its place: from before its first pod until it is suspended, preempted or finished."""
    known = find_condition(job.status.conditions, "Admitted")
    if step.phase in (JobPhase.QUEUED, JobPhase.SUSPENDED):
        if job.run or known:
            yield Aspect(type="Admitted", holds=False, reason=step.reason, message=step.message)
    elif known and (known.status == "True" or step.phase in FINISHED_JOB_PHASES):
        yield Aspect(type=known.type, holds=known.status == "True", reason=known.reason, message=known.message)
    elif job.run and (verdict := job.observed.verdict) and verdict.stand is Stand.ADMITTED:
        yield Aspect(type="Admitted", holds=True, reason=verdict.reason, message=verdict.message)
    elif job.run:
        yield Aspect(type="Admitted", holds=True, reason="NotQueued")


def _describe_suspension(job: JobView, step: JobStep) -> Iterator[Aspect]:
    if step.phase is JobPhase.SUSPENDED:
        yield Aspect(type="Suspended", holds=step.reason == "Suspended", reason=step.reason, message=step.message)
    elif find_condition(job.status.conditions, "Suspended"):
        yield Aspect(type="Suspended", holds=False, reason="Resumed")


def _describe_progress(job: JobView, step: JobStep) -> Iterator[Aspect]:
    """Yield whether the trainer answers, while there is one to ask."""
    if step.phase not in (JobPhase.STARTING, JobPhase.RENDEZVOUS, JobPhase.TRAINING) or job.up < job.nodes:
        return
    since = silent_since(job)
    if since is None:
        yield Aspect(type="ProgressKnown", holds=True, reason="Reported")
    elif job.now >= since + SILENCE_SECONDS:
        yield Aspect(
            type="ProgressKnown",
            holds=False,
            reason="ProgressUnknown",
            message=f"pod {job.pod_name(0)} has not answered since {format_time(since)}: training may go on all the same."
            " Check that a NetworkPolicy lets the operator reach the status port",
        )
    elif known := find_condition(job.status.conditions, "ProgressKnown"):
        yield Aspect(type=known.type, holds=known.status == "True", reason=known.reason, message=known.message)


def silent_since(job: JobView) -> float | None:
    """Return since when rank 0 does not answer; None if it does, or has nothing more to say."""
    report, first = job.observed.report, job.pods.get(0)
    if first is None or first.phase != "Running":
        return None
    if report is None or report.status is None:
        asked_since = report.failing_since if report else None
        # The clock of a node may be so wrong that nobody knows when the container started.
        return next((time for time in (asked_since, first.started) if time is not None), job.now)
    finished = report.status.phase == PodPhase.FINISHED
    return None if finished else report.failing_since
