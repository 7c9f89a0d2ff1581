"""The steps of a Dataset: import, try again, Ready or Failed. Pure."""

from collections.abc import Iterator
from typing import Any

from oarlock_api.contract import Cause, DatasetFacts
from oarlock_api.findings import describe_findings
from oarlock_api.v1alpha1.dataset import DatasetSpec
from oarlock_api.v1alpha1.status import MAX_FAILURES, DatasetPhase, FailureRecord
from oarlock_api.v1alpha1.volumes import AccessMode
from oarlock_operator import names
from oarlock_operator.manifests.claims import build_claim
from oarlock_operator.manifests.importer import build_import_pod
from oarlock_operator.manifests.metadata import Manifest
from oarlock_operator.policy.abandoned import is_abandoned, overdue_at
from oarlock_operator.policy.backoff import compute_retry_delay, is_waiting
from oarlock_operator.policy.bounds import fit_failure
from oarlock_operator.policy.causes import OperatorCause
from oarlock_operator.policy.claims import explain_claim
from oarlock_operator.policy.cleanup import has_left
from oarlock_operator.policy.failures import find_culprit, is_failing
from oarlock_operator.policy.refusals import find_refusal
from oarlock_operator.policy.restarts import Budget, budget_of
from oarlock_operator.policy.times import format_time, parse_time
from oarlock_operator.policy.wait import Wait
from oarlock_operator.policy.waiting import explain_wait, wait_for_scheduler
from oarlock_operator.reconcile.dataset_facts import describe_dataset
from oarlock_operator.reconcile.dataset_view import DatasetView
from oarlock_operator.reconcile.import_startup import find_startup_failure, import_startup_due
from oarlock_operator.reconcile.observed import ObservedPod
from oarlock_operator.reconcile.steps import ImportStep
from oarlock_operator.reconcile.surroundings import surround_import


def leave(data: DatasetView) -> ImportStep | None:
    """Start nothing for a Dataset that is being deleted; None if it is not."""
    if not data.observed.object.deleting:
        return None
    holders = ", ".join(data.observed.holders[:5])
    message = f"deletion waits for the jobs that use it: {holders}" if data.is_held else "being deleted"
    return ImportStep(phase=data.status.phase or DatasetPhase.PENDING, reason="Deleting", message=message)


def keep_ready(data: DatasetView) -> ImportStep | None:
    """Keep what is imported, as long as its claim is there; None if nothing is."""
    if not data.status.version:
        return None
    claim = data.claim
    if claim is None or claim.phase == "Lost":
        return ImportStep(
            phase=DatasetPhase.FAILED,
            reason="ClaimLost",
            message=f"claim {data.claim_name} with the data is gone. Restore it, or delete this Dataset and apply it again",
            confirm=data.status.reason != "ClaimLost",
        )
    return ImportStep(
        phase=DatasetPhase.READY, reason="Imported", message=describe_dataset(data.status), delete=_live_pods(data)
    )


def refuse(data: DatasetView) -> ImportStep | None:
    """Say everything that is wrong, and stop an import that was under way; None if the spec is valid."""
    if data.spec is not None:
        return None
    return ImportStep(
        phase=DatasetPhase.INVALID,
        reason="InvalidSpec",
        message=describe_findings(data.findings),
        changes={"attempt": data.status.attempt + 1} if data.pod else {},
        delete=tuple(pod for pod in _all_pods(data) if not pod.deleting),
    )


def renew(data: DatasetView) -> ImportStep | None:
    """Begin anew with a spec that was corrected before anything was Ready; None if it is the same."""
    if not data.is_changed:
        return None
    return ImportStep(
        phase=DatasetPhase.PENDING,
        reason="SpecChanged",
        message="the spec was changed: the import begins anew",
        changes={
            "attempt": data.status.attempt + 1,
            "spec_hash": data.spec_hash,
            "claim": "",
            "progress": None,
            "failures": [],
            "restarts": {},
            "retry_after": None,
            "completion_time": None,
        },
        delete=tuple(pod for pod in _all_pods(data) if not pod.deleting),
        confirm=True,
    )


def rest_failed(data: DatasetView) -> ImportStep | None:
    """Keep a failed Dataset as it is; None if it did not fail."""
    if data.status.phase is not DatasetPhase.FAILED or data.status.completion_time is None:
        return None
    return ImportStep(
        phase=DatasetPhase.FAILED, reason=data.status.reason, message=data.status.message, delete=_live_pods(data)
    )


def finish(data: DatasetView) -> ImportStep | None:
    """Declare the data Ready when the import has ended well and said what it wrote."""
    facts = read_facts(data)
    if facts is None:
        return None
    changes: dict[str, Any] = {
        "version": facts.version,
        "claim": data.claim_name,
        "path": facts.path,
        "bytes": facts.bytes,
        "samples": sum(facts.counts.values()),
        "counts": facts.counts,
        "classes": facts.classes,
        "class_count": facts.class_count,
        "class_counts": facts.class_counts,
        "sample_shape": facts.sample_shape,
        "vocabulary_size": facts.vocabulary_size,
        "rejected": facts.rejected,
        "first_rejects": facts.first_rejects,
        "warnings": list(data.pod.termination.warnings) if data.pod and data.pod.termination else [],
        "completion_time": format_time(data.now),
        "retry_after": None,
    }
    return ImportStep(
        phase=DatasetPhase.READY,
        reason="Imported",
        message=describe_dataset(data.status.model_copy(update=changes)),
        changes=changes,
        confirm=True,
    )


def read_facts(data: DatasetView) -> DatasetFacts | None:
    """Return what the import wrote; None if it has not ended well, or speaks of a folder that is not its own."""
    pod = data.pod
    if pod is None or pod.phase != "Succeeded" or is_failing(pod, lost_nodes=frozenset()):
        return None
    wire = pod.termination.dataset if pod.termination else None
    facts = DatasetFacts.from_wire(wire) if wire else None
    folder = names.data_folder(data.owner.name, data.owner.uid)
    return facts if facts and facts.version and facts.path.startswith(f"{folder}/") else None


def recover(data: DatasetView) -> ImportStep | None:
    """Answer the failure of an import with a new attempt or with Failed; None if nothing failed."""
    failure, late = _find_failure(data), find_startup_failure(data)
    if failure:
        return _retry(data, failure) if _may_retry(data, failure.cause) else fail(data, failure)
    if late:
        return _retry(data, late) if _is_budget_left(data) else fail(data, late)
    return None


def _retry(data: DatasetView, failure: FailureRecord) -> ImportStep:
    restarts = data.status.restarts
    before = data.status.failures[-1] if data.status.failures else None
    delay = compute_retry_delay(
        base=data.settings.retry_delay_seconds,
        failed_before=parse_time(before.time) if before else None,
        retried_at=parse_time(data.status.retry_after),
        now=data.now,
    )
    retry_at = data.now + delay
    return ImportStep(
        phase=DatasetPhase.PENDING,
        reason=failure.cause,
        message=_describe_retry(failure, format_time(retry_at)),
        changes={
            "attempt": data.status.attempt + 1,
            "failures": [*data.status.failures, failure][-MAX_FAILURES:],
            "restarts": {**restarts, failure.cause: restarts.get(failure.cause, 0) + 1},
            "retry_after": format_time(retry_at),
            "progress": None,
        },
        delete=tuple(pod for pod in _all_pods(data) if not pod.deleting),
        confirm=True,
        wake_at=retry_at,
    )


def _find_failure(data: DatasetView) -> FailureRecord | None:
    pod = data.pod
    if pod and pod.phase == "Succeeded" and not is_failing(pod, lost_nodes=frozenset()):
        return fit_failure(
            FailureRecord(
                attempt=pod.attempt,
                cause=Cause.UNKNOWN,
                message=f"pod {pod.name} ended without saying what it wrote",
                remedy="use an image with this version of the oarlock trainer",
                pod=pod.name,
                pod_uid=pod.uid,
                node=pod.node,
                time=format_time(data.now),
            )
        )
    # Importing is said only of a pod that ran, so one that is missing then was taken away.
    vanished = {0: data.pod_name} if pod is None and data.status.phase is DatasetPhase.IMPORTING else {}
    pods = (pod,) if pod else ()
    culprit = find_culprit(
        pods, vanished, attempt=data.status.attempt, lost_nodes=data.observed.lost_nodes, now=data.now
    )
    return culprit.failure if culprit else None


def _may_retry(data: DatasetView, cause: str) -> bool:
    budget = budget_of(cause)
    if budget in (Budget.FREE, Budget.NEVER):
        return budget is Budget.FREE
    return _is_budget_left(data)


def _is_budget_left(data: DatasetView) -> bool:
    counted = sum(count for name, count in data.status.restarts.items() if budget_of(name) is not Budget.FREE)
    return data.spec is not None and counted < data.spec.backoff_limit


def fail(data: DatasetView, failure: FailureRecord) -> ImportStep:
    """Give up the import until its spec is corrected."""
    remedy = f". Remedy: {failure.remedy}" if failure.remedy else ""
    return ImportStep(
        phase=DatasetPhase.FAILED,
        reason=failure.cause,
        message=f"{failure.message}{remedy}. A corrected spec is imported anew",
        changes={
            "failures": [*data.status.failures, failure][-MAX_FAILURES:],
            "completion_time": format_time(data.now),
            "retry_after": None,
        },
        delete=_live_pods(data),
        confirm=True,
    )


def _describe_retry(failure: FailureRecord, when: str | None) -> str:
    remedy = f" ({failure.remedy})" if failure.remedy else ""
    return f"{failure.message}{remedy}. The import is tried again at {when}"


def make_room(data: DatasetView) -> ImportStep | None:
    """Wait until the pods of earlier attempts are gone and the back-off is over; None if both are."""
    lost_nodes = data.observed.lost_nodes
    blocking = [pod for pod in data.old_pods if not is_abandoned(pod, lost_nodes=lost_nodes, now=data.now)]
    lingering = tuple(pod for pod in data.old_pods if not pod.deleting)
    retry_at = parse_time(data.status.retry_after)
    must_wait = data.pod is None and is_waiting(retry_at, now=data.now)
    if not blocking and not lingering and not must_wait:
        return None
    failed = data.status.failures[-1] if data.status.failures else None
    ending = f"Pod {blocking[0].name} of the attempt before is still ending" if blocking else ""
    said = _describe_retry(failed, data.status.retry_after) if failed else ""
    return ImportStep(
        phase=DatasetPhase.PENDING,
        reason=failed.cause if failed else "OldPodsEnding",
        message=". ".join(part for part in (said, ending) if part),
        delete=lingering,
        wake_at=retry_at if must_wait else overdue_at(blocking, now=data.now),
    )


def start(data: DatasetView) -> ImportStep | None:
    """Create what the import lacks; None if its pod is there."""
    if data.pod or data.spec is None:
        return None
    if obstacle := _find_obstacle(data):
        return ImportStep(phase=DatasetPhase.PENDING, reason=obstacle.reason, message=obstacle.message)
    children = tuple(_build_children(data, data.spec))
    if refusal := find_refusal(children, data.observed.refusals, now=data.now):
        if refusal.is_final:
            return _fail_refused(data, refusal.message)
        if not refusal.is_transient:
            return ImportStep(
                phase=DatasetPhase.PENDING, reason=refusal.reason, message=refusal.message, wake_at=refusal.retry_at
            )
    busy = Wait(reason=refusal.reason, message=refusal.message) if refusal else None
    wait = busy or wait_for_scheduler(data.pod_name)
    started = {} if data.status.start_time else {"start_time": format_time(data.now)}
    return ImportStep(
        phase=DatasetPhase.PENDING,
        reason=wait.reason,
        message=wait.message,
        changes={"spec_hash": data.spec_hash, "claim": data.claim_name, **started},
        create=children,
        confirm=data.status.attempt > 0,
    )


def _find_obstacle(data: DatasetView) -> Wait | None:
    if data.pod_name in data.strangers:
        return Wait(
            reason="NameTaken",
            message=f"pod {data.pod_name} exists and does not belong to this Dataset. Delete it, or rename the Dataset",
        )
    if data.creates_claim:
        return explain_claim(data.claim, label=names.DATASET_LABEL, owner=data.owner) if data.claim else None
    if data.claim is None:
        return Wait(
            reason="ClaimMissing",
            message=f"there is no claim {data.claim_name}. Create it, or leave out storage.claim to have one created",
        )
    return None


def _fail_refused(data: DatasetView, message: str) -> ImportStep:
    failure = FailureRecord(
        attempt=data.status.attempt, cause=OperatorCause.CREATION_REFUSED, message=message, time=format_time(data.now)
    )
    return fail(data, fit_failure(failure))


def _build_children(data: DatasetView, spec: DatasetSpec) -> Iterator[Manifest]:
    storage = spec.storage
    if data.creates_claim and data.claim is None:
        yield build_claim(
            data.claim_name,
            owner=data.owner,
            component="data",
            size=storage.size,
            storage_class=storage.storage_class or data.settings.default_storage_class,
            access_modes=[str(mode) for mode in storage.access_modes or [AccessMode.READ_WRITE_ONCE]],
            retain=storage.retain,
        )
    yield build_import_pod(
        spec,
        owner=data.owner,
        claim=data.claim_name,
        attempt=data.status.attempt,
        run_hash=data.spec_hash,
        settings=data.settings,
    )


def follow(data: DatasetView) -> ImportStep:
    """Say what the import does."""
    pods = [data.pod] if data.pod else []
    if wait := explain_wait(pods, surround_import(data)):
        return ImportStep(
            phase=DatasetPhase.PENDING, reason=wait.reason, message=wait.message, wake_at=import_startup_due(data)
        )
    where = f"pod {data.pod_name}" + (f" on node {data.pod.node}" if data.pod else "")
    said = f"; {data.report.warnings[0]}" if data.report and data.report.warnings else ""
    return ImportStep(phase=DatasetPhase.IMPORTING, reason="Importing", message=f"{where} imports{said}")


def _all_pods(data: DatasetView) -> tuple[ObservedPod, ...]:
    return (data.pod, *data.old_pods) if data.pod else data.old_pods


def _live_pods(data: DatasetView) -> tuple[ObservedPod, ...]:
    """Return the pods that still run, if only in part, and are not yet asked to stop."""
    return tuple(pod for pod in _all_pods(data) if not has_left(pod) and not pod.deleting)
