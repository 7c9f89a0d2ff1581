"""From a manifest to the first pods."""

from dataclasses import replace
from typing import Any

import pytest
from reconciling.job_states import (
    JOB_UID,
    NOW,
    SETTINGS,
    after,
    condition,
    kinds,
    make_claim,
    make_dataset,
    make_object,
    make_spec,
    names_of,
    observe,
    plan,
    status_of,
)

from oarlock_api.run import Run
from oarlock_api.v1alpha1.status import DatasetPhase, JobPhase, TrainingJobStatus
from oarlock_operator import names
from oarlock_operator.reconcile.observed import ObservedClaim, ObservedDataset
from oarlock_operator.reconcile.training_job import plan_job


def test_every_fault_is_said_and_nothing_created_when_a_spec_is_invalid() -> None:
    spec = make_spec(nodes=0, modle={"name": "lenet"})

    planned = plan(observe(spec=spec))
    status = status_of(planned)

    assert (status.phase, status.reason) == (JobPhase.INVALID, "InvalidSpec")
    assert "spec.workers.nodes must be at least 1" in status.message
    assert "spec.modle" in status.message
    assert condition(status, "Valid") == ("False", "InvalidSpec")
    assert not planned.create


@pytest.mark.parametrize(
    ("dataset", "reason", "said"),
    [
        (None, "DatasetMissing", "there is no Dataset fashion"),
        (
            make_dataset(DatasetPhase.IMPORTING, message="pod x imports"),
            "DatasetImporting",
            "is Importing: pod x imports",
        ),
        (make_dataset(DatasetPhase.FAILED, message="empty folder"), "DatasetFailed", "is Failed: empty folder"),
        (make_dataset(deleting=True), "DatasetTerminating", "being deleted"),
    ],
    ids=["missing", "importing", "failed", "deleting"],
)
def test_the_job_waits_and_says_for_what_when_its_dataset_is_not_ready(
    dataset: ObservedDataset | None, reason: str, said: str
) -> None:
    planned = plan(observe(dataset=dataset))
    status = status_of(planned)

    assert (status.phase, status.reason) == (JobPhase.WAITING_FOR_DATA, reason)
    assert said in status.message
    assert condition(status, "DatasetReady") == ("False", reason)
    assert status.run is None
    assert not planned.create


@pytest.mark.parametrize("phase", [DatasetPhase.PENDING, DatasetPhase.IMPORTING, DatasetPhase.FAILED])
def test_a_job_that_no_data_of_its_task_can_fit_is_refused_when_the_data_is_on_its_way(phase: DatasetPhase) -> None:
    spec = make_spec(model={"name": "unet"}, recipe={"loss": {"name": "dice"}, "augment": {"crop": 5000}})

    planned = plan(observe(spec=spec, dataset=make_dataset(phase)))
    status = status_of(planned)

    assert (status.phase, status.reason) == (JobPhase.INVALID, "InvalidSpec")
    assert "spec.model.name must be a model for imageClassification" in status.message
    assert "spec.recipe.loss.name must be a loss for imageClassification, got dice" in status.message
    assert "crop" not in status.message  # that is a question of the images
    assert not planned.create


@pytest.mark.parametrize("dataset", [make_dataset(DatasetPhase.INVALID), make_dataset(deleting=True), None])
def test_a_job_is_not_held_against_a_dataset_that_will_be_another(dataset: ObservedDataset | None) -> None:
    status = status_of(plan(observe(spec=make_spec(model={"name": "unet"}), dataset=dataset)))

    assert status.phase is JobPhase.WAITING_FOR_DATA


def test_a_job_goes_on_when_the_dataset_that_it_did_not_fit_was_corrected() -> None:
    refused = plan(observe(spec=make_spec(model={"name": "unet"}), dataset=make_dataset(DatasetPhase.PENDING)))
    corrected = make_dataset(DatasetPhase.PENDING, spec={"task": "segmentation"})
    again = observe(spec=make_spec(model={"name": "unet"}), status=status_of(refused), dataset=corrected)

    assert status_of(plan(again)).phase is JobPhase.WAITING_FOR_DATA


def test_run_is_frozen_and_claim_and_pod_created_when_the_dataset_is_ready() -> None:
    planned = plan_job(observe(), now=NOW, settings=SETTINGS)
    status = status_of(planned)

    assert kinds(planned) == ["PersistentVolumeClaim", "Pod"]
    assert names_of(planned.create) == ["lenet-checkpoints", "lenet-0a1b2c3d-0-0"]
    assert Run.from_wire(status.run).dataset.version == "abc123"
    assert (status.phase, status.start_time) == (JobPhase.STARTING, after(0))
    assert condition(status, "Valid") == ("True", "Accepted")
    assert planned.urgent


def test_service_comes_before_the_pods_when_there_are_several_nodes() -> None:
    planned = plan(observe(spec=make_spec(nodes=3)))

    assert kinds(planned) == ["PersistentVolumeClaim", "Service", "Pod", "Pod", "Pod"]


def test_job_is_invalid_when_it_does_not_fit_its_dataset() -> None:
    planned = plan(observe(spec=make_spec(recipe={"batchSize": 9999})))
    status = status_of(planned)

    assert status.phase is JobPhase.INVALID
    assert "spec.recipe.batchSize must be at most the number of training samples, 4000, got 9999" in status.message
    assert status.run is None
    assert not planned.create


@pytest.mark.parametrize(
    ("parts", "remedy"),
    [
        (
            {"workers": {"podTemplate": {"env": [{"name": f"V{n}", "value": "x" * 4000} for n in range(3)]}}},
            "ConfigMap",
        ),
        ({"recipe": {"loss": {"weightByClass": {f"class-{n:04}": 2 for n in range(600)}}}}, "name fewer classes"),
    ],
    ids=["variables", "classes"],
)
def test_job_is_invalid_when_what_it_resolves_to_is_too_large_for_a_status(parts: dict[str, Any], remedy: str) -> None:
    planned = plan(observe(spec=make_spec(**parts)))

    assert status_of(planned).phase is JobPhase.INVALID
    assert "must resolve to at most 8192 bytes" in status_of(planned).message
    assert remedy in status_of(planned).message


def test_job_is_invalid_when_its_old_claim_serves_one_node_only() -> None:
    claims = {"lenet-checkpoints": make_claim()}

    planned = plan(observe(spec=make_spec(nodes=2), claims=claims))

    assert "spec.workers.nodes must be 1 with claim lenet-checkpoints" in status_of(planned).message


def test_existing_claim_is_used_when_the_spec_names_one() -> None:
    spec = make_spec(checkpoints={"volume": {"claim": "shared"}})

    planned = plan(observe(spec=spec))

    assert kinds(planned) == ["Pod"]


def test_claim_is_reused_when_an_earlier_job_of_the_name_left_it() -> None:
    planned = plan(observe(claims={"lenet-checkpoints": make_claim()}))

    assert kinds(planned) == ["Pod"]


@pytest.mark.parametrize(
    ("claim", "reason"),
    [
        (make_claim(labels={}), "NameTaken"),
        (make_claim(labels={names.JOB_LABEL: "other"}), "NameTaken"),
        (make_claim(deleting=True), "ClaimTerminating"),
        (make_claim(owner_uid="uid of the job before"), "ClaimTerminating"),
        (make_claim(phase="Lost"), "ClaimLost"),
    ],
    ids=["unlabelled", "of another job", "being deleted", "of a deleted job", "lost"],
)
def test_no_pod_is_created_when_the_claim_cannot_be_used(claim: ObservedClaim, reason: str) -> None:
    planned = plan(observe(claims={claim.name: claim}))

    assert status_of(planned).reason == reason
    assert "lenet-checkpoints" in status_of(planned).message
    assert not planned.create


def test_claim_is_used_when_the_job_owns_it() -> None:
    assert kinds(plan(observe(claims={"lenet-checkpoints": make_claim(owner_uid=JOB_UID)}))) == ["Pod"]


@pytest.mark.parametrize("claim", [make_claim(deleting=True), make_claim(owner_uid="uid of the job before")])
def test_access_modes_of_a_claim_that_goes_do_not_matter(claim: ObservedClaim) -> None:
    planned = plan(observe(spec=make_spec(nodes=2), claims={claim.name: claim}))

    assert status_of(planned).reason == "ClaimTerminating"


def test_nothing_is_created_when_the_job_is_suspended_from_the_start() -> None:
    planned = plan(observe(spec=make_spec(run_policy={"suspend": True})))
    status = status_of(planned)

    assert (status.phase, status.run) == (JobPhase.SUSPENDED, None)
    assert condition(status, "Suspended") == ("True", "Suspended")
    assert not planned.create


def test_only_its_dataset_is_looked_at_when_a_job_is_being_deleted() -> None:
    planned = plan(observe(object=make_object(deleting=True)))

    assert planned.status is None
    assert [other.kind for other in planned.others] == ["Dataset"]
    assert (planned.create, planned.delete, planned.confirm) == ((), (), ())


def test_dataset_learns_of_the_job_when_it_is_not_held_yet() -> None:
    planned = plan(observe(dataset=make_dataset(finalizers=())))

    assert [(other.kind, other.name) for other in planned.others] == [("Dataset", "fashion")]


def test_a_run_that_cannot_be_read_is_left_alone() -> None:
    planned = plan(observe(status=TrainingJobStatus(run={"hash": "x"}, phase=JobPhase.TRAINING)))
    status = status_of(planned)

    assert (status.phase, status.reason) == (JobPhase.TRAINING, "RunUnreadable")
    assert condition(status, "Valid") == ("False", "RunUnreadable")
    assert status.run == {"hash": "x"}
    assert not planned.create


def test_a_second_look_changes_nothing_when_a_job_waits() -> None:
    waiting = observe(dataset=None)
    status = status_of(plan(waiting))

    again = plan(replace(waiting, status=status), now=NOW + 50)

    assert again.status is None
