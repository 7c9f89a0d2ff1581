"""The status of a Dataset, computed in one place from what is observed and the step that follows from it. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any

from oarlock_api.findings import describe_findings
from oarlock_api.v1alpha1.status import DatasetPhase, DatasetProgress, DatasetStatus
from oarlock_operator.policy.bounds import clip
from oarlock_operator.policy.conditions import Aspect, find_condition, update_conditions
from oarlock_operator.reconcile.dataset_facts import fit_dataset_status
from oarlock_operator.reconcile.dataset_view import DatasetView
from oarlock_operator.reconcile.steps import ImportStep

MAX_MESSAGE_BYTES = 1000
MAX_HOLDERS = 50
_PROGRESS_FIELDS = frozenset({"progress", "message"})


def build_dataset_status(data: DatasetView, step: ImportStep) -> DatasetStatus:
    """Return the whole status that goes with a step."""
    before, generation = data.status, data.observed.object.generation
    return fit_dataset_status(
        before.model_copy(
            update={
                "observed_generation": generation,
                "phase": step.phase,
                "reason": clip(step.reason, 64),
                "message": clip(step.message, MAX_MESSAGE_BYTES),
                "conditions": update_conditions(
                    before.conditions, _describe_conditions(data, step), generation=generation, now=data.now
                ),
                "progress": _build_progress(data, step),
                "holders": list(data.observed.holders[:MAX_HOLDERS]),
                **step.changes,
            }
        )
    )


def _describe_conditions(data: DatasetView, step: ImportStep) -> Iterator[Aspect]:
    if data.findings:
        yield Aspect(type="Valid", holds=False, reason="InvalidSpec", message=describe_findings(data.findings))
    elif data.is_changed and data.status.version:
        yield Aspect(
            type="Valid",
            holds=False,
            reason="SpecChanged",
            message="what is imported stays as it was: podTemplate, resources and backoffLimit alone may change. Set the spec"
            " back, or apply it as another Dataset",
        )
    else:
        yield Aspect(type="Valid", holds=True, reason="Valid")
    is_ready = step.phase is DatasetPhase.READY
    yield Aspect(type="Ready", holds=is_ready, reason=step.reason, message=step.message)
    if data.is_held:
        yield Aspect(type="InUse", holds=True, reason="UnfinishedJobs", message=_list_holders(data.observed.holders))
    elif find_condition(data.status.conditions, "InUse"):
        yield Aspect(type="InUse", holds=False, reason="NoUnfinishedJobs")


def _list_holders(holders: tuple[str, ...]) -> str:
    more = f" and {len(holders) - 10} more" if len(holders) > 10 else ""  # noqa: PLR2004
    return ", ".join(holders[:10]) + more


def _build_progress(data: DatasetView, step: ImportStep) -> DatasetProgress | None:
    before, report = data.status.progress, data.report
    if step.phase is DatasetPhase.READY:
        samples = step.changes.get("samples", data.status.samples)
        return DatasetProgress(samples=samples, total=samples, percent=100, eta_seconds=0)
    if report is None or step.phase is not DatasetPhase.IMPORTING:
        return before
    return DatasetProgress(
        samples=report.position,
        total=report.steps,
        percent=min(100, 100 * report.position // report.steps) if report.steps > 0 else 0,
        eta_seconds=None if report.eta_seconds is None else round(min(report.eta_seconds, 1e9)),
    )


def is_progress_only(before: DatasetStatus, after: DatasetStatus) -> bool:
    """Say whether two statuses differ only in what may wait for its turn."""
    return _essence(before) == _essence(after)


def _essence(status: DatasetStatus) -> Mapping[str, Any]:
    wire = {key: value for key, value in status.to_wire().items() if key not in _PROGRESS_FIELDS}
    wire["conditions"] = [(condition.type, condition.status, condition.reason) for condition in status.conditions]
    return wire
