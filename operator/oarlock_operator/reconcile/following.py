"""Following an attempt whose pods are all there: starting, joining, training. Pure."""

from collections.abc import Sequence

from oarlock_api.v1alpha1.status import JobPhase
from oarlock_operator.policy.phases import JOINING
from oarlock_operator.policy.rendezvous import explain_rendezvous
from oarlock_operator.policy.stalls import STALLED, explain_stall
from oarlock_operator.policy.waiting import explain_wait
from oarlock_operator.reconcile.job_view import JobView
from oarlock_operator.reconcile.starting import count_pods
from oarlock_operator.reconcile.steps import JobStep
from oarlock_operator.reconcile.surroundings import surround_job


def follow(job: JobView) -> JobStep:
    """Say what the pods of the attempt do."""
    wait = explain_wait(job.pods.values(), surround_job(job))
    if wait is not None:
        return JobStep(phase=JobPhase.STARTING, reason=wait.reason, message=count_pods(job, wait.message))
    if job.report is None:
        return _follow_silent(job)
    if job.report.phase in JOINING and not job.has_trained:
        return _follow_joining(job)
    if stall := explain_stall(job.pods, job.reports):
        return JobStep(phase=JobPhase.TRAINING, reason=STALLED, message=stall)
    return JobStep(phase=JobPhase.TRAINING, reason=job.report.phase or "Training", message=_describe_training(job))


def _follow_silent(job: JobView) -> JobStep:
    """Keep the phase while rank 0 has not been heard of: after a restart of the operator it may have trained for days."""
    if job.status.phase in (JobPhase.RENDEZVOUS, JobPhase.TRAINING):
        return JobStep(phase=job.status.phase, reason=job.status.reason, message=job.status.message)
    return _follow_joining(job)


def _follow_joining(job: JobView) -> JobStep:
    if job.nodes == 1:
        return JobStep(
            phase=JobPhase.STARTING,
            reason="TrainerStarting",
            message=f"the trainer in pod {job.pod_name(0)} is starting",
        )
    if not any(report.status or report.failing_since for report in job.observed.peers.values()):
        message = f"all {job.nodes} pods run, and their ranks are joining at pod {job.pod_name(0)}"
        return JobStep(phase=JobPhase.RENDEZVOUS, reason="Joining", message=message)
    meeting = explain_rendezvous(tuple(job.pods.values()), job.reports, since=job.gathered_since, now=job.now)
    return JobStep(phase=JobPhase.RENDEZVOUS, reason=meeting.reason, message=meeting.message, wake_at=meeting.wake_at)


def _find_remedy(non_finite: Sequence[str]) -> str:
    if all(name.startswith("validation/") for name in non_finite):
        return "See what the model does when it is not training: no checkpoint counts as the best until that is finite"
    return "Lower the learning rate or clip gradients"


def _describe_training(job: JobView) -> str:
    report = job.report
    where = f"on {job.nodes} nodes" if job.nodes > 1 else f"on node {job.pods[0].node}"
    where += f" of {job.wanted} wanted" if job.nodes < job.wanted else ""
    said = [f"attempt {job.status.attempt} {where}"]
    if report and report.non_finite:
        said.append(f"not finite: {', '.join(report.non_finite[:3])}. {_find_remedy(report.non_finite)}")
    if report and report.warnings:
        said.append(report.warnings[0])
    if report:
        said += report.notes
    return "; ".join(said)
