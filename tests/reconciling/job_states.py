"""States of TrainingJobs for tests of planning: each builder shows only what matters."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from oarlock_api.contract import Failure, Outcome, TerminationRecord, WorkerStatus
from oarlock_api.v1alpha1.status import (
    Checkpoints,
    CheckpointStatus,
    DatasetPhase,
    DatasetStatus,
    JobPhase,
    Progress,
    TrainingJobStatus,
)
from oarlock_operator import names
from oarlock_operator.policy.times import format_time
from oarlock_operator.reconcile.observed import (
    ObservedClaim,
    ObservedDataset,
    ObservedEarlierJob,
    ObservedJob,
    ObservedObject,
    ObservedPod,
    WorkerReport,
)
from oarlock_operator.reconcile.plans import Plan
from oarlock_operator.reconcile.training_job import plan_job
from oarlock_operator.settings import Settings

NOW = 1_800_000_000.0
JOB_UID = "0a1b2c3d-0000-4000-8000-000000000001"
DATASET_UID = "9f8e7d6c-0000-4000-8000-000000000002"
SETTINGS = Settings()


def make_spec(*, nodes: int = 1, run_policy: Mapping[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    spec: dict[str, Any] = {"dataset": {"name": "fashion"}, "model": {"name": "lenet"}, "workers": {"nodes": nodes}}
    return {**spec, **({"runPolicy": dict(run_policy)} if run_policy else {}), **fields}


def make_object(spec: Mapping[str, Any] | None = None, **fields: Any) -> ObservedObject:
    values: dict[str, Any] = {
        "name": "lenet",
        "namespace": "team",
        "uid": JOB_UID,
        "generation": 1,
        "resource_version": "7",
        "created": NOW - 100,
        "spec": make_spec() if spec is None else spec,
    }
    return ObservedObject(**{**values, **fields})


def make_dataset(phase: DatasetPhase = DatasetPhase.READY, *, message: str = "", **fields: Any) -> ObservedDataset:
    ready = {
        "version": "abc123",
        "claim": "fashion-data",
        "path": "fashion-9f8e7d6c/abc123",
        "samples": 5000,
        "counts": {"train": 4000, "validation": 1000},
        "class_count": 10,
        "sample_shape": [28, 28, 1],
    }
    status = DatasetStatus(phase=phase, message=message, **(ready if phase is DatasetPhase.READY else {}))
    values: dict[str, Any] = {
        "name": "fashion",
        "namespace": "team",
        "uid": DATASET_UID,
        "generation": 1,
        "resource_version": "3",
        "created": NOW - 200,
        "finalizers": (names.IN_USE_FINALIZER,),
    }
    return ObservedDataset(object=ObservedObject(**{**values, **fields}), status=status)


def make_earlier(
    phase: JobPhase = JobPhase.SUCCEEDED, *, saved: bool = True, deleting: bool = False
) -> ObservedEarlierJob:
    """A job from whose weights another one begins: its checkpoints are on claim `weights`."""
    checkpoint = CheckpointStatus(step=4, epoch=1, path="checkpoints/step-000000004", bytes=9, time=format_time(NOW))
    status = TrainingJobStatus(
        phase=phase,
        run={"checkpoints": {"claim": "weights"}},
        checkpoint=Checkpoints(claim="weights", latest=checkpoint) if saved else None,
    )
    return ObservedEarlierJob(object=make_object(name="base", uid="base-uid", deleting=deleting), status=status)


def observe(*, spec: Mapping[str, Any] | None = None, **fields: Any) -> ObservedJob:
    """A job that nobody has looked at yet."""
    values: dict[str, Any] = {"object": make_object(spec), "status": TrainingJobStatus(), "dataset": make_dataset()}
    return ObservedJob(**{**values, **fields})


def plan(observed: ObservedJob, *, now: float = NOW) -> Plan:
    """Plan as the controller does: what has to be confirmed is confirmed, and found as it was believed."""
    first = plan_job(observed, now=now, settings=SETTINGS)
    return plan_job(replace(observed, confirmed=True), now=now, settings=SETTINGS) if first.confirm else first


def accept(*, now: float = NOW, **fields: Any) -> ObservedJob:
    """A job that was accepted, and whose children were just created."""
    fresh = observe(**fields)
    planned = plan(fresh, now=now)
    assert isinstance(planned.status, TrainingJobStatus)
    nodes = planned.status.run["workers"]["nodes"] if planned.status.run else 0
    made = {name: make_claim(name) for name in names_of(planned.create) if name == names.checkpoint_claim_name("lenet")}
    return replace(
        fresh,
        status=planned.status,
        pods=tuple(make_pod(rank, status=planned.status) for rank in range(nodes)),
        claims={**fresh.claims, **made},
    )


def train(*, now: float = NOW, status: Mapping[str, Any] | None = None, **fields: Any) -> ObservedJob:
    """A job all of whose pods run, with a report of rank 0."""
    job = accept(now=now, **fields)
    pods = tuple(run_pod(pod) for pod in job.pods)
    job = replace(job, pods=pods, report=make_report())
    return replace(job, status=status_of(plan(job, now=now)).model_copy(update=dict(status or {})))


def make_pod(rank: int = 0, *, status: TrainingJobStatus, attempt: int | None = None, **fields: Any) -> ObservedPod:
    number = status.attempt if attempt is None else attempt
    values: dict[str, Any] = {
        "name": names.worker_pod_name("lenet", JOB_UID, attempt=number, rank=rank),
        "uid": f"pod-{number}-{rank}",
        "owner_uid": JOB_UID,
        "attempt": number,
        "rank": rank,
        "run_hash": status.run["hash"] if status.run else "",
        "phase": "Pending",
        "created": NOW,
    }
    return ObservedPod(**{**values, **fields})


def run_pod(pod: ObservedPod, **fields: Any) -> ObservedPod:
    values: dict[str, Any] = {"phase": "Running", "scheduled": True, "scheduled_at": NOW, "started": NOW}
    return replace(pod, **{"node": f"node-{pod.rank}", **values, **fields})


def end_pod(
    pod: ObservedPod, *, exit_code: int = 0, record: TerminationRecord | None = None, **fields: Any
) -> ObservedPod:
    values: dict[str, Any] = {"phase": "Failed" if exit_code else "Succeeded", "exit_code": exit_code, "finished": NOW}
    return replace(run_pod(pod), termination=record, **{**values, **fields})


def make_report(*, failing_since: float | None = None, **fields: Any) -> WorkerReport:
    return WorkerReport(status=make_worker_status(**fields), answered=NOW, failing_since=failing_since)


def make_worker_status(**fields: Any) -> WorkerStatus:
    values: dict[str, Any] = {
        "job_uid": JOB_UID,
        "run_hash": "",
        "attempt": 0,
        "node": 0,
        "phase": "Training",
        "phase_since": NOW,
        "step": 100,
        "steps": 400,
        "epoch": 2.5,
        "epochs": 10.0,
        "eta_seconds": 61.7,
        "metrics": {"train/loss": 0.5, "validation/accuracy": 0.9712, "samplesPerSecond": 1234.5},
        "checkpoint_latest": make_checkpoint(80),
    }
    return WorkerStatus(**{**values, **fields})


def make_checkpoint(step: int, *, time: float = NOW) -> dict[str, Any]:
    return {"step": step, "epoch": step / 40, "path": f"checkpoints/step-{step}", "bytes": 1000, "time": time}


def make_record(outcome: Outcome = Outcome.SUCCEEDED, **fields: Any) -> TerminationRecord:
    values: dict[str, Any] = {
        "job_uid": JOB_UID,
        "run_hash": "",
        "attempt": 0,
        "node": 0,
        "outcome": outcome,
        "step": 400,
        "steps": 400,
        "epoch": 10.0,
    }
    return TerminationRecord(**{**values, **fields})


def make_failure(cause: str, message: str = "it broke", **fields: Any) -> TerminationRecord:
    failure = Failure(cause=cause, message=message, remedy="mend it", **fields)
    return make_record(Outcome.FAILED, failure=failure.to_wire(), step=90)


def make_claim(name: str = "lenet-checkpoints", **fields: Any) -> ObservedClaim:
    values: dict[str, Any] = {
        "uid": f"claim-{name}",
        "phase": "Bound",
        "access_modes": ("ReadWriteOnce",),
        "labels": {names.JOB_LABEL: "lenet"},
    }
    return ObservedClaim(name=name, **{**values, **fields})


def status_of(planned: Plan) -> TrainingJobStatus:
    assert isinstance(planned.status, TrainingJobStatus)
    return planned.status


def status_after(observed: ObservedJob, *, now: float = NOW) -> TrainingJobStatus:
    """The status that a job has once its plan is applied."""
    planned = plan(observed, now=now)
    return status_of(planned) if planned.status else observed.status


def progress_of(status: TrainingJobStatus) -> Progress:
    assert status.progress
    return status.progress


def latest_of(status: TrainingJobStatus) -> CheckpointStatus:
    assert status.checkpoint
    assert status.checkpoint.latest
    return status.checkpoint.latest


def condition(status: TrainingJobStatus | DatasetStatus, kind: str) -> tuple[str, str] | None:
    found = [each for each in status.conditions if each.type == kind]
    return (found[0].status.value, found[0].reason) if found else None


def kinds(planned: Plan) -> list[str]:
    return [manifest["kind"] for manifest in planned.create]


def names_of(manifests: Sequence[Mapping[str, Any]]) -> list[str]:
    return [manifest["metadata"]["name"] for manifest in manifests]


def after(seconds: float) -> str:
    return format_time(NOW + seconds)
