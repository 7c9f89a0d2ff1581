"""Plans a Dataset: read `plan_dataset` from top to bottom. Pure: no I/O, no clock."""

from oarlock_api.v1alpha1.status import DatasetPhase, DatasetStatus
from oarlock_operator import names
from oarlock_operator.reconcile.dataset_status import build_dataset_status, is_progress_only
from oarlock_operator.reconcile.dataset_view import DatasetView, view_dataset
from oarlock_operator.reconcile.importing import (
    finish,
    follow,
    keep_ready,
    leave,
    make_room,
    recover,
    refuse,
    renew,
    rest_failed,
    start,
)
from oarlock_operator.reconcile.observed import ObservedImport
from oarlock_operator.reconcile.plans import Deletion, EventNote, Plan, Reference
from oarlock_operator.reconcile.steps import ImportStep
from oarlock_operator.settings import Settings

_WARNINGS = frozenset({DatasetPhase.INVALID, DatasetPhase.FAILED})


def plan_dataset(observed: ObservedImport, *, now: float, settings: Settings) -> Plan:
    """Return what is to be done for a Dataset.

    Args:
        observed: everything that is known of it.
        now: seconds since 1970.
        settings: what the administrator decided.
    """
    data = view_dataset(observed, now=now, settings=settings)
    return conclude(data, decide(data))


def decide(data: DatasetView) -> ImportStep:
    """Return the step of a Dataset: the first that applies."""
    return (
        leave(data)
        or keep_ready(data)
        or refuse(data)
        or renew(data)
        or rest_failed(data)
        or finish(data)
        or recover(data)
        or make_room(data)
        or start(data)
        or follow(data)
    )


def conclude(data: DatasetView, step: ImportStep) -> Plan:
    """Turn a step into a plan, or into the question whether what it rests on is true."""
    before, status = data.status, build_dataset_status(data, step)
    is_new = status.to_wire() != before.to_wire()
    # A write of the status is refused if it was planned from an old state; what is created without one has no such guard.
    unguarded = bool(step.create) and not is_new
    if (step.confirm or step.delete or unguarded) and not data.observed.confirmed:
        return Plan(confirm=_references_to_confirm(data))
    events = _describe_events(before, status)
    return Plan(
        status=status if is_new else None,
        urgent=bool(step.create or step.delete or events) or not is_progress_only(before, status),
        finalizers=_plan_finalizers(data),
        delete=tuple(
            Deletion(reference=Reference(kind="Pod", namespace=data.owner.namespace, name=pod.name), uid=pod.uid)
            for pod in step.delete
        ),
        create=step.create,
        events=events,
        wake_at=step.wake_at,
        others=_waiting_jobs(data) if status.phase is not before.phase else (),
    )


def _references_to_confirm(data: DatasetView) -> tuple[Reference, ...]:
    """Name the Dataset, its claim, its pods as they are known, and those that may be there unknown."""
    namespace, attempt = data.owner.namespace, data.status.attempt
    attempts = (attempt - 1, attempt) if attempt > 0 else (attempt,)
    known = [pod.name for pod in (data.pod, *data.old_pods) if pod]
    possible = [names.import_pod_name(data.owner.name, data.owner.uid, attempt=number) for number in attempts]
    return (
        Reference(kind="Dataset", namespace=namespace, name=data.owner.name),
        Reference(kind="PersistentVolumeClaim", namespace=namespace, name=data.claim_name),
        *(Reference(kind="Pod", namespace=namespace, name=name) for name in dict.fromkeys(known + possible)),
    )


def _plan_finalizers(data: DatasetView) -> tuple[str, ...] | None:
    """Hold the data while unfinished jobs use it. A finalizer cannot be added to what is being deleted already."""
    finalizers = data.observed.object.finalizers
    if names.IN_USE_FINALIZER in finalizers:
        kept = tuple(name for name in finalizers if name != names.IN_USE_FINALIZER)
        return None if data.is_held else kept
    may_add = data.is_held and not data.observed.object.deleting
    return (*finalizers, names.IN_USE_FINALIZER) if may_add else None


def _describe_events(before: DatasetStatus, after: DatasetStatus) -> tuple[EventNote, ...]:
    if after.phase is None or after.phase is before.phase:
        return ()
    return (EventNote(reason=after.phase.value, message=after.message, warning=after.phase in _WARNINGS),)


def _waiting_jobs(data: DatasetView) -> tuple[Reference, ...]:
    namespace = data.owner.namespace
    return tuple(Reference(kind="TrainingJob", namespace=namespace, name=name) for name in data.observed.holders)
