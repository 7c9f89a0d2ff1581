"""States of Datasets for tests of planning: each builder shows only what matters."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from reconciling.job_states import DATASET_UID, NOW, SETTINGS

from oarlock_api.contract import DatasetFacts, Failure, Outcome, TerminationRecord, WorkerStatus
from oarlock_api.v1alpha1.status import DatasetStatus
from oarlock_operator import names
from oarlock_operator.reconcile.dataset import plan_dataset
from oarlock_operator.reconcile.observed import ObservedClaim, ObservedImport, ObservedObject, ObservedPod, WorkerReport
from oarlock_operator.reconcile.plans import Plan

FOLDER = "fashion-9f8e7d6c"


def make_dataset_spec(**fields: Any) -> dict[str, Any]:
    source = {"volume": {"claim": "raw", "path": "images"}}
    return {"task": "imageClassification", "source": source, "layout": {"folders": {}}, **fields}


def observe_dataset(*, spec: Mapping[str, Any] | None = None, **fields: Any) -> ObservedImport:
    """A Dataset that nobody has looked at yet."""
    metadata: dict[str, Any] = {
        "name": "fashion",
        "namespace": "team",
        "uid": DATASET_UID,
        "generation": 1,
        "resource_version": "3",
        "created": NOW,
        "spec": make_dataset_spec() if spec is None else spec,
    }
    own: dict[str, Any] = {name: fields.pop(name) for name in ("deleting", "finalizers") if name in fields}
    values: dict[str, Any] = {"object": ObservedObject(**(metadata | own)), "status": DatasetStatus()}
    return ObservedImport(**{**values, **fields})


def plan_import(observed: ObservedImport, *, now: float = NOW) -> Plan:
    """Plan as the controller does: what has to be confirmed is confirmed, and found as it was believed."""
    first = plan_dataset(observed, now=now, settings=SETTINGS)
    return plan_dataset(replace(observed, confirmed=True), now=now, settings=SETTINGS) if first.confirm else first


def begin_import(**fields: Any) -> ObservedImport:
    """A Dataset whose claim and import pod were just created."""
    fresh = observe_dataset(**fields)
    claims = {"fashion-data": make_data_claim(), **fresh.claims}
    return replace(fresh, status=import_status(plan_import(fresh)), pods=(make_import_pod(),), claims=claims)


def run_import(**fields: Any) -> ObservedImport:
    """A Dataset whose import pod runs."""
    begun = begin_import(**fields)
    running = replace(begun.pods[0], phase="Running", scheduled=True, node="n1", started=NOW)
    job = replace(begun, pods=(running,), report=make_import_report())
    return replace(job, status=import_status(plan_import(job)))


def end_import(data: ObservedImport, *, exit_code: int = 0, **fields: Any) -> ObservedImport:
    values: dict[str, Any] = {"phase": "Failed" if exit_code else "Succeeded", "exit_code": exit_code, "finished": NOW}
    return replace(data, pods=(replace(data.pods[0], **{**values, **fields}),))


def finish_import(**fields: Any) -> ObservedImport:
    """A Dataset that is Ready."""
    done = end_import(run_import(**fields), termination=make_import_record())
    return replace(done, status=import_status(plan_import(done)))


def make_import_pod(*, attempt: int = 0, **fields: Any) -> ObservedPod:
    values: dict[str, Any] = {
        "name": names.import_pod_name("fashion", DATASET_UID, attempt=attempt),
        "uid": f"import-{attempt}",
        "owner_uid": DATASET_UID,
        "attempt": attempt,
        "rank": 0,
        "run_hash": "",
        "phase": "Pending",
        "created": NOW,
    }
    return ObservedPod(**{**values, **fields})


def make_data_claim(name: str = "fashion-data", **fields: Any) -> ObservedClaim:
    values: dict[str, Any] = {
        "uid": f"claim-{name}",
        "phase": "Bound",
        "access_modes": ("ReadWriteOnce",),
        "labels": {names.DATASET_LABEL: "fashion"},
    }
    return ObservedClaim(name=name, **{**values, **fields})


def make_import_report(**fields: Any) -> WorkerReport:
    values: dict[str, Any] = {
        "job_uid": DATASET_UID,
        "run_hash": "",
        "attempt": 0,
        "node": 0,
        "phase": "Importing",
        "phase_since": NOW,
        "position": 1250,
        "steps": 5000,
        "eta_seconds": 12.4,
    }
    return WorkerReport(status=WorkerStatus(**{**values, **fields}), answered=NOW)


def make_import_record(**fields: Any) -> TerminationRecord:
    facts: dict[str, Any] = {
        "version": "abc123",
        "path": f"{FOLDER}/abc123",
        "bytes": 4_000_000,
        "classes": ["boot", "coat"],
        "class_count": 2,
        "counts": {"train": 4000, "validation": 998},
        "class_counts": {"train": [2000, 2000], "validation": [499, 499]},
        "sample_shape": [28, 28, 1],
        "rejected": 2,
        "first_rejects": ["boot/7.png: truncated"],
    }
    return _make_record(Outcome.SUCCEEDED, dataset=DatasetFacts(**{**facts, **fields}).to_wire())


def make_import_failure(cause: str, message: str = "it broke") -> TerminationRecord:
    return _make_record(Outcome.FAILED, failure=Failure(cause=cause, message=message, remedy="mend it").to_wire())


def _make_record(outcome: Outcome, **fields: Any) -> TerminationRecord:
    return TerminationRecord(job_uid=DATASET_UID, run_hash="", attempt=0, node=0, outcome=outcome, **fields)


def import_status(planned: Plan) -> DatasetStatus:
    assert isinstance(planned.status, DatasetStatus)
    return planned.status
