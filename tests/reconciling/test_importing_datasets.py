"""The life of a Dataset."""

from dataclasses import replace
from typing import Any

import pytest
from reconciling.dataset_states import (
    begin_import,
    end_import,
    finish_import,
    import_status,
    make_data_claim,
    make_dataset_spec,
    make_import_failure,
    make_import_pod,
    make_import_record,
    make_import_report,
    observe_dataset,
    plan_import,
    run_import,
)
from reconciling.job_states import NOW, SETTINGS, after, condition, kinds, names_of

from oarlock_api.contract import Outcome
from oarlock_api.v1alpha1.status import DatasetPhase, FailureRecord
from oarlock_operator.names import IN_USE_FINALIZER
from oarlock_operator.reconcile.dataset import plan_dataset
from oarlock_operator.reconcile.observed import ObservedImport, Refusal


def edit(data: ObservedImport, **fields: Any) -> ObservedImport:
    return replace(data, object=replace(data.object, generation=2, spec=make_dataset_spec(**fields)))


def test_claim_and_import_pod_are_created_when_a_dataset_is_applied() -> None:
    planned = plan_import(observe_dataset())
    status = import_status(planned)

    assert kinds(planned) == ["PersistentVolumeClaim", "Pod"]
    assert names_of(planned.create) == ["fashion-data", "fashion-9f8e7d6c-import-0"]
    assert (status.phase, status.claim, status.start_time) == (DatasetPhase.PENDING, "fashion-data", after(0))
    assert condition(status, "Ready") == ("False", "Scheduling")
    assert condition(status, "Valid") == ("True", "Valid")


def test_every_fault_is_said_and_nothing_created_when_a_spec_is_invalid() -> None:
    planned = plan_import(observe_dataset(spec={"source": {}, "layout": {"folders": {}}}))

    assert import_status(planned).phase is DatasetPhase.INVALID
    assert "spec.source must have exactly one of" in import_status(planned).message
    assert not planned.create


@pytest.mark.parametrize(("length", "reason"), [(1000, "Scheduling"), (1024, "InvalidSpec")])
def test_a_spec_is_refused_when_it_does_not_fit_into_a_variable(length: int, reason: str) -> None:
    path = "\N{GRINNING FACE}" * length
    spec = make_dataset_spec(
        source={"volume": {"claim": "raw", "path": path}},
        layout={"idx": dict.fromkeys(("images", "labels", "validationImages", "validationLabels"), path)},
        split={"folders": dict.fromkeys(("train", "validation", "test"), path)},
    )

    assert import_status(plan_import(observe_dataset(spec=spec))).reason == reason


def test_existing_claim_is_used_when_the_spec_names_one() -> None:
    spec = make_dataset_spec(storage={"claim": "shared"})
    claims = {"shared": make_data_claim("shared", labels={})}

    planned = plan_import(observe_dataset(spec=spec, claims=claims))

    assert kinds(planned) == ["Pod"]
    assert import_status(planned).claim == "shared"


def test_the_missing_claim_is_named_when_the_spec_names_it() -> None:
    planned = plan_import(observe_dataset(spec=make_dataset_spec(storage={"claim": "shared"})))

    assert (import_status(planned).reason, planned.create) == ("ClaimMissing", ())


def test_no_pod_is_created_when_a_stranger_holds_the_claim_s_name() -> None:
    planned = plan_import(observe_dataset(claims={"fashion-data": make_data_claim(labels={})}))

    assert (import_status(planned).reason, planned.create) == ("NameTaken", ())


def test_no_pod_is_created_while_the_claim_goes_with_an_earlier_dataset() -> None:
    claim = make_data_claim(owner_uid="uid of the Dataset before")
    planned = plan_import(observe_dataset(claims={"fashion-data": claim}))

    assert (import_status(planned).reason, planned.create) == ("ClaimTerminating", ())
    assert (
        "claim fashion-data belongs to an object with UID uid of the Dataset before" in import_status(planned).message
    )


def test_the_culprit_is_named_when_the_import_pod_does_not_start() -> None:
    data = begin_import()
    pod = replace(data.pods[0], unschedulable="0/2 nodes: volume node affinity conflict")

    status = import_status(plan_import(replace(data, pods=(pod,))))

    assert (status.phase, status.reason) == (DatasetPhase.PENDING, "Unschedulable")
    assert "volume node affinity conflict" in status.message


def stuck_import(**fields: Any) -> ObservedImport:
    """A Dataset whose import pod has a node and cannot pull its image."""
    data = begin_import(spec=make_dataset_spec(**fields))
    waits = {"waiting_reason": "ImagePullBackOff", "waiting_message": "no such tag"}
    pod = replace(data.pods[0], scheduled=True, scheduled_at=NOW, node="n1", **waits)  # type: ignore[arg-type]
    return replace(data, pods=(pod,))


def test_the_image_is_named_and_the_deadline_awaited_while_the_import_pod_waits() -> None:
    planned = plan_import(stuck_import(), now=NOW + 599)

    assert (import_status(planned).reason, planned.wake_at) == ("ImagePullFailed", NOW + 600)
    assert "(no such tag). Check the image's name" in import_status(planned).message


@pytest.mark.parametrize(
    ("waits", "cause"),
    [("ImagePullBackOff", "ImageUnavailable"), ("", "StartupDeadlineExceeded")],
    ids=["image", "slow"],
)
def test_the_import_is_tried_again_at_a_cost_when_its_pod_does_not_start(waits: str, cause: str) -> None:
    data = stuck_import()
    late = plan_import(replace(data, pods=(replace(data.pods[0], waiting_reason=waits),)), now=NOW + 600)
    status = import_status(late)

    assert (status.attempt, status.restarts, status.reason) == (1, {cause: 1}, cause)
    assert [deletion.uid for deletion in late.delete] == ["import-0"]
    assert late.wake_at == NOW + 605


def test_the_import_fails_with_culprit_and_remedy_when_its_pods_never_start() -> None:
    status = import_status(plan_import(stuck_import(backoffLimit=0), now=NOW + 600))

    assert (status.phase, status.reason) == (DatasetPhase.FAILED, "ImageUnavailable")
    assert "the import did not run within 600 s on its node: pod fashion-9f8e7d6c-import-0 on node n1" in status.message
    assert "Remedy: " in status.message


def test_the_import_waits_for_ever_when_its_pod_has_no_node() -> None:
    data = begin_import()
    planned = plan_import(replace(data, pods=(replace(data.pods[0], unschedulable="0/2 nodes"),)), now=NOW + 90_000)

    assert (import_status(planned).phase, import_status(planned).reason) == (DatasetPhase.PENDING, "Unschedulable")
    assert (import_status(planned).attempt, planned.wake_at) == (0, None)


def test_progress_is_shown_when_the_import_runs() -> None:
    data = run_import()
    progress = data.status.progress

    planned = plan_import(replace(data, report=make_import_report(position=2500)))

    assert data.status.phase is DatasetPhase.IMPORTING
    assert progress
    assert (progress.samples, progress.total, progress.percent, progress.eta_seconds) == (1250, 5000, 25, 12)
    assert not planned.urgent


def test_counts_per_split_and_class_are_shown_when_the_import_has_ended_well() -> None:
    status = finish_import().status

    assert (status.phase, status.version, status.path) == (DatasetPhase.READY, "abc123", "fashion-9f8e7d6c/abc123")
    assert (status.samples, status.counts) == (4998, {"train": 4000, "validation": 998})
    assert status.class_counts["validation"] == [499, 499]
    assert condition(status, "Ready") == ("True", "Imported")
    assert "4998 samples in 2 classes (train 4000, validation 998); 2 files rejected" in status.message
    assert "boot/7.png: truncated" in status.message


def test_what_the_import_warned_of_stays_in_the_status_when_it_has_ended_well() -> None:
    warned = replace(make_import_record(), warnings=["14 of 18 classes have no pixel"])
    status = import_status(plan_import(end_import(run_import(), termination=warned)))

    assert status.warnings == ["14 of 18 classes have no pixel"]
    assert status.message.endswith("; 14 of 18 classes have no pixel")


def test_ready_is_confirmed_before_it_is_declared() -> None:
    done = end_import(run_import(), termination=make_import_record())

    planned = plan_dataset(done, now=NOW, settings=SETTINGS)

    assert {each.kind for each in planned.confirm} == {"Dataset", "PersistentVolumeClaim", "Pod"}
    assert planned.status is None


def test_waiting_jobs_are_looked_at_when_the_dataset_gets_ready() -> None:
    done = end_import(run_import(), termination=make_import_record())

    planned = plan_import(replace(done, holders=("lenet", "mlp")))

    assert [(each.kind, each.name) for each in planned.others] == [("TrainingJob", "lenet"), ("TrainingJob", "mlp")]


@pytest.mark.parametrize(
    "record",
    [None, make_import_record(path="other-12345678/abc123"), make_import_record(version="")],
    ids=["no record", "another's folder", "no version"],
)
def test_an_import_that_does_not_say_what_it_wrote_has_failed(record: Any) -> None:
    status = import_status(plan_import(end_import(run_import(), termination=record)))

    assert (status.attempt, status.restarts) == (1, {"Unknown": 1})
    assert "ended without saying what it wrote" in status.message


def test_the_import_is_tried_again_when_an_infrastructure_fault_ends_it() -> None:
    data = end_import(run_import(), exit_code=74, termination=make_import_failure("StorageFailed", "EIO at shard-3"))

    planned = plan_import(data)
    status = import_status(planned)

    assert (status.phase, status.attempt, status.retry_after) == (DatasetPhase.PENDING, 1, after(5))
    assert "EIO at shard-3 (mend it). The import is tried again at" in status.message
    assert [deletion.uid for deletion in planned.delete] == ["import-0"]
    assert planned.wake_at == NOW + 5
    assert not planned.create


def test_the_next_import_pod_waits_for_the_old_one_and_for_the_back_off() -> None:
    data = end_import(run_import(), exit_code=74)
    data = replace(data, status=import_status(plan_import(data)))
    ending = replace(data, pods=(replace(data.pods[0], deleting=True),))

    assert not plan_import(ending, now=NOW + 9).create
    assert not plan_import(replace(data, pods=()), now=NOW + 4).create
    planned = plan_import(replace(data, pods=()), now=NOW + 5)
    assert names_of(planned.create) == ["fashion-9f8e7d6c-import-1"]


@pytest.mark.parametrize(
    ("cause", "restarts", "phase"),
    [
        ("DataCorrupt", {}, DatasetPhase.FAILED),
        ("ConfigInvalid", {}, DatasetPhase.FAILED),
        ("UserError", {"UserError": 2, "Evicted": 9}, DatasetPhase.PENDING),
        ("UserError", {"UserError": 2, "StorageFailed": 1}, DatasetPhase.FAILED),
    ],
    ids=["corrupt", "config", "budget left", "budget spent"],
)
def test_the_import_fails_with_its_black_box_by_cause(
    cause: str, restarts: dict[str, int], phase: DatasetPhase
) -> None:
    data = run_import()
    data = replace(data, status=data.status.model_copy(update={"restarts": restarts}))

    status = import_status(plan_import(end_import(data, exit_code=1, termination=make_import_failure(cause))))

    assert (status.phase, status.reason) == (phase, cause)
    assert status.failures[-1].message.endswith(": it broke")
    assert status.failures[-1].pod == "fashion-9f8e7d6c-import-0"


def test_a_vanished_import_pod_is_a_free_retry() -> None:
    status = import_status(plan_import(replace(run_import(), pods=())))

    assert status.restarts == {"PodDeleted": 1}


def failed() -> ObservedImport:
    data = end_import(run_import(), exit_code=65, termination=make_import_failure("DataCorrupt"))
    return replace(data, status=import_status(plan_import(data)))


def test_a_failed_dataset_rests() -> None:
    planned = plan_dataset(failed(), now=NOW + 99, settings=SETTINGS)

    assert (planned.status, planned.create, planned.delete, planned.confirm) == (None, (), (), ())


def test_a_corrected_spec_is_imported_anew_when_nothing_is_ready() -> None:
    planned = plan_import(edit(failed(), layout={"csv": {}}))
    status = import_status(planned)

    assert (status.phase, status.attempt, status.failures, status.restarts) == (DatasetPhase.PENDING, 1, [], {})
    assert [deletion.uid for deletion in planned.delete] == ["import-0"]
    corrected = edit(replace(failed(), status=status, pods=()), layout={"csv": {}})
    assert names_of(plan_import(corrected).create) == ["fashion-9f8e7d6c-import-1"]


def test_what_is_ready_stays_when_the_spec_is_changed() -> None:
    planned = plan_import(edit(finish_import(), split={"validation": 0.5}))
    status = import_status(planned)

    assert (status.phase, status.version) == (DatasetPhase.READY, "abc123")
    assert condition(status, "Valid") == ("False", "SpecChanged")
    assert (planned.create, planned.delete) == ((), ())


def test_how_the_import_runs_may_change_at_any_time() -> None:
    planned = plan_import(edit(finish_import(), resources={"cpu": 8}, backoffLimit=9, podTemplate={"env": []}))

    assert condition(import_status(planned), "Valid") == ("True", "Valid")


def test_a_ready_dataset_rests() -> None:
    planned = plan_dataset(finish_import(), now=NOW + 99, settings=SETTINGS)

    assert (planned.status, planned.create, planned.delete, planned.confirm) == (None, (), (), ())


def test_data_that_is_gone_is_said_and_restored_when_the_claim_is_back() -> None:
    ready = finish_import()
    gone = replace(ready, claims={})
    lost = import_status(plan_import(gone))

    back = import_status(plan_import(replace(ready, status=lost)))

    assert (lost.phase, lost.reason, lost.version) == (DatasetPhase.FAILED, "ClaimLost", "abc123")
    assert plan_dataset(gone, now=NOW, settings=SETTINGS).confirm
    assert back.phase is DatasetPhase.READY


def test_the_dataset_is_held_only_while_jobs_use_what_is_ready() -> None:
    ready = finish_import()
    held = replace(ready, holders=("lenet",))
    released = replace(ready, object=replace(ready.object, finalizers=("other", IN_USE_FINALIZER)))

    assert plan_import(held).finalizers == (IN_USE_FINALIZER,)
    assert condition(import_status(plan_import(held)), "InUse") == ("True", "UnfinishedJobs")
    assert plan_import(released).finalizers == ("other",)
    assert plan_import(replace(run_import(), holders=("lenet",))).finalizers is None
    assert plan_import(ready).finalizers is None


def test_nothing_is_started_and_the_holders_are_named_when_a_dataset_is_being_deleted() -> None:
    ready = finish_import()
    leaving = replace(ready, object=replace(ready.object, deleting=True, finalizers=(IN_USE_FINALIZER,)))

    waiting, free = plan_import(replace(leaving, holders=("lenet",))), plan_import(leaving)

    assert waiting.finalizers is None
    assert "deletion waits for the jobs that use it: lenet" in import_status(waiting).message
    assert free.finalizers == ()
    assert not plan_import(replace(observe_dataset(deleting=True), holders=("lenet",))).create


def test_an_import_stops_when_its_spec_becomes_invalid() -> None:
    planned = plan_import(edit(run_import(), layout={}))

    assert import_status(planned).phase is DatasetPhase.INVALID
    assert [deletion.uid for deletion in planned.delete] == ["import-0"]


def test_a_refused_pod_is_named_and_asked_for_again_later() -> None:
    data = replace(begin_import(), pods=())
    refusals = {"fashion-9f8e7d6c-import-0": Refusal(message="exceeded quota", time=NOW)}

    planned = plan_import(replace(data, refusals=refusals))

    assert (import_status(planned).reason, planned.create, planned.wake_at) == ("Refused", (), NOW + 30)
    assert plan_import(replace(data, refusals=refusals), now=NOW + 30).create


def test_only_one_import_pod_is_ever_asked_for_when_the_cache_is_stale() -> None:
    stale = replace(begin_import(), pods=())

    planned = plan_dataset(stale, now=NOW, settings=SETTINGS)

    assert planned.confirm
    assert not planned.create


def test_an_old_import_pod_does_not_speak_for_the_attempt() -> None:
    data = run_import()
    old = make_import_pod(attempt=3, phase="Succeeded", termination=make_import_record())
    seen = FailureRecord(attempt=0, cause="Hung", message="", time=after(0))
    status = data.status.model_copy(update={"attempt": 4, "failures": [seen]})

    planned = plan_import(replace(data, status=status, pods=(old,)))

    assert import_status(planned).version == ""
    assert old.termination
    assert old.termination.outcome == Outcome.SUCCEEDED
