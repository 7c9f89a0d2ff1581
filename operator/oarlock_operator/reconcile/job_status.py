"""The status of a job, computed in one place from what is observed and the step that follows from it. Pure."""

from collections.abc import Mapping
from typing import Any

from oarlock_api.v1alpha1.status import MAX_STATUS_BYTES, FailureRecord, JobPhase, TrainingJobStatus
from oarlock_operator import names
from oarlock_operator.policy.bounds import clip, wire_size
from oarlock_operator.policy.conditions import update_conditions
from oarlock_operator.policy.goodput import count_goodput, count_held, find_activity
from oarlock_operator.policy.phases import add_phase_seconds
from oarlock_operator.policy.stalls import STALLED
from oarlock_operator.policy.times import format_time
from oarlock_operator.reconcile.job_conditions import describe_conditions
from oarlock_operator.reconcile.job_progress import build_checkpoints, build_progress, build_script
from oarlock_operator.reconcile.job_view import JobView
from oarlock_operator.reconcile.steps import JobStep

MAX_MESSAGE_BYTES = 1000
_COMING_UP = frozenset({"Scheduling", "Creating"})
"""What every pod goes through in a moment: with many jobs, a write for each of the two would be a third of all writes."""
_PROGRESS_FIELDS = frozenset({"progress", "script", "checkpoint", "message", "nodes", "queue", "goodput"})


def build_job_status(job: JobView, step: JobStep) -> TrainingJobStatus:
    """Return the whole status that goes with a step."""
    before, generation = job.status, job.observed.object.generation
    after = before.model_copy(
        update={
            "observed_generation": generation,
            "phase": step.phase,
            "reason": clip(step.reason, 64),
            "message": clip(step.message, MAX_MESSAGE_BYTES),
            "conditions": update_conditions(
                before.conditions, describe_conditions(job, step), generation=generation, now=job.now
            ),
            "nodes": 0 if "attempt" in step.changes else job.up,
            "selector": f"{names.UID_LABEL}={job.owner.uid},{names.ROLE_LABEL}={names.WORKER_ROLE}",
            "queue": None,
            "progress": build_progress(job),
            "script": build_script(job),
            "checkpoint": build_checkpoints(job) if job.run else before.checkpoint,
            **_turn_clock(job, step.phase),
            **step.changes,
        }
    )
    return _count_goodput(job, after if before == after else fit_job_status(after))


def _count_goodput(job: JobView, after: TrainingJobStatus) -> TrainingJobStatus:
    """Count the time with each write that happens anyway: none is needed for the time alone."""
    pods, before = job.all_pods, job.status
    gpus_per_node = job.run.workers.gpus_per_node if job.run else 0
    held = count_held(pods, at=job.now) * gpus_per_node
    if held == (before.goodput.gpus if before.goodput else 0) and is_same(before, after):
        return after
    goodput = count_goodput(
        before, after, pods=pods, gpus_per_node=gpus_per_node, created=job.observed.object.created, now=job.now
    )
    return fit_job_status(after.model_copy(update={"goodput": goodput}))


def _turn_clock(job: JobView, phase: JobPhase) -> dict[str, Any]:
    before = job.status
    if phase is before.phase:
        return {}
    return {
        "phases": add_phase_seconds(before.phases, phase=before.phase, since=before.phase_since, now=job.now),
        "phase_since": format_time(job.now),
    }


def is_same(before: TrainingJobStatus, after: TrainingJobStatus) -> bool:
    """Say whether a write would change nothing: models compare faster than what they look like on the wire."""
    return before == after or before.to_wire() == after.to_wire()


def is_progress_only(before: TrainingJobStatus, after: TrainingJobStatus) -> bool:
    """Say whether two statuses differ only in what may wait for its turn."""
    return _essence(before) == _essence(after)


def _essence(status: TrainingJobStatus) -> Mapping[str, Any]:
    wire = {key: value for key, value in status.to_wire().items() if key not in _PROGRESS_FIELDS}
    if status.reason == STALLED:
        wire["stall"] = status.message  # Who holds up the others is worth a write, and so is a better answer.
    elif status.phase is JobPhase.TRAINING:
        wire.pop("reason", None)  # Validating, checkpointing, and training again.
    if status.reason in _COMING_UP:
        wire["reason"] = "ComingUp"
    wire["activity"] = find_activity(status)  # The first step after loading is worth a write: goodput turns by it.
    wire["conditions"] = [
        (condition.type, condition.status, condition.reason)
        for condition in status.conditions
        if condition.type != "ProgressKnown"
    ]
    return wire


def fit_job_status(status: TrainingJobStatus) -> TrainingJobStatus:
    """Return the status within `MAX_STATUS_BYTES`: what is longest and least needed is shortened first."""
    for shorten in (_shorten_conditions, _shorten_failures, _shorten_message):
        if wire_size(status.to_wire()) <= MAX_STATUS_BYTES:
            return status
        status = shorten(status)
    return status


def _shorten_conditions(status: TrainingJobStatus) -> TrainingJobStatus:
    short = [condition.model_copy(update={"message": clip(condition.message, 120)}) for condition in status.conditions]
    return status.model_copy(update={"conditions": short})


def _shorten_failures(status: TrainingJobStatus) -> TrainingJobStatus:
    return status.model_copy(update={"failures": [_shorten_failure(failure) for failure in status.failures]})


def _shorten_failure(failure: FailureRecord) -> FailureRecord:
    return failure.model_copy(update={"message": clip(failure.message, 160), "detail": ""})


def _shorten_message(status: TrainingJobStatus) -> TrainingJobStatus:
    return status.model_copy(update={"message": clip(status.message, 300)})
