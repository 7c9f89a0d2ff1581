"""What is taken away under pods that run: it is told, mended where it can be, and training goes on."""

from dataclasses import replace
from typing import Any

import pytest
from reconciling.job_states import JOB_UID, make_claim, make_earlier, make_report, make_spec, plan, status_of, train
from reconciling.test_beginning_with_other_weights import CLAIMS, WEIGHTS, spec

from oarlock_api.v1alpha1.status import Condition, JobPhase, TrainingJobStatus
from oarlock_operator import names
from oarlock_operator.reconcile.observed import ObservedService

SERVICE = ObservedService(name=names.service_name("lenet", JOB_UID), uid="s", owner_uid=JOB_UID)


def find(status: TrainingJobStatus, kind: str) -> Condition:
    return next(condition for condition in status.conditions if condition.type == kind)


def test_deleted_service_is_created_again_and_told_of_while_training_goes_on() -> None:
    job = replace(train(spec=make_spec(nodes=2), service=SERVICE), service=None)
    planned = plan(job)

    assert [child["kind"] for child in planned.create] == ["Service"]
    assert status_of(planned).phase is JobPhase.TRAINING
    assert find(status_of(planned), "ServicePresent").reason == "ServiceDeleted"

    mended = plan(replace(job, status=status_of(planned), service=SERVICE))

    assert mended.create == ()
    assert find(status_of(mended), "ServicePresent").reason == "ServiceRestored"


def test_lost_and_leaving_claims_are_named_while_pods_run() -> None:
    job = train()
    name = names.checkpoint_claim_name("lenet")
    lost = replace(make_claim(name), phase="Lost")
    leaving = replace(make_claim(name), deleting=True)

    said = [find(status_of(plan(replace(job, claims={name: claim}))), "ClaimsUsable") for claim in (lost, leaving)]

    assert [condition.reason for condition in said] == ["ClaimLost", "ClaimTerminating"]
    assert all(f"claim {name} is" in condition.message for condition in said)


@pytest.mark.parametrize("trouble", [{"phase": "Lost"}, {"deleting": True}], ids=["lost", "leaving"])
def test_the_claim_of_the_first_weights_is_missed_only_until_the_job_has_a_checkpoint(trouble: dict[str, Any]) -> None:
    saved = train(spec=spec(), earlier=make_earlier(), claims=CLAIMS)
    unsaved = replace(
        saved,
        status=saved.status.model_copy(update={"checkpoint": None}),
        report=make_report(checkpoint_latest=None),
    )
    claims = {"lenet-checkpoints": make_claim(), "weights": replace(WEIGHTS, **trouble)}

    planned = plan(replace(unsaved, claims=claims))
    said = find(status_of(planned), "ClaimsUsable")
    assert said.reason == ("ClaimLost" if "phase" in trouble else "ClaimTerminating")
    assert said.message.startswith("claim weights is ")
    assert said.message.endswith("Its weights are needed until this job has a checkpoint of its own")
    assert status_of(planned).phase is JobPhase.TRAINING
    assert not planned.delete

    untroubled = plan(replace(saved, claims=claims))
    assert untroubled.status is None or not any(
        each.type == "ClaimsUsable" for each in status_of(untroubled).conditions
    )
