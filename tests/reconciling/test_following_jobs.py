"""From the first pods to the last step."""

from dataclasses import replace
from typing import Any

import pytest
from reconciling.job_states import (
    NOW,
    SETTINGS,
    accept,
    after,
    condition,
    end_pod,
    latest_of,
    make_claim,
    make_pod,
    make_record,
    make_report,
    make_spec,
    plan,
    progress_of,
    run_pod,
    status_after,
    status_of,
    train,
)

from oarlock_api.contract import Outcome
from oarlock_api.v1alpha1.status import JobPhase
from oarlock_operator.policy.times import format_time
from oarlock_operator.reconcile.observed import ObservedClaim, Refusal, WorkerReport
from oarlock_operator.reconcile.training_job import plan_job

PENDING_CLAIM = make_claim("fashion-data", phase="Pending", message="no StorageClass fast")


@pytest.mark.parametrize(
    ("pod", "claims", "reason", "said"),
    [
        ({}, {}, "Scheduling", "waits for the scheduler"),
        (
            {"unschedulable": "0/3 nodes: gpu"},
            {},
            "Unschedulable",
            "no node for pod lenet-0a1b2c3d-0-0: 0/3 nodes: gpu",
        ),
        (
            {"unschedulable": "unbound claims"},
            {"fashion-data": PENDING_CLAIM},
            "ClaimPending",
            "claim fashion-data is Pending: no StorageClass fast",
        ),
        (
            {"scheduled": True, "node": "n1", "waiting_reason": "ImagePullBackOff", "waiting_message": "not found"},
            {},
            "ImageNotFound",
            "the registry has no such image (not found). Push it, or correct the image",
        ),
        (
            {
                "scheduled": True,
                "node": "n1",
                "waiting_reason": "CreateContainerConfigError",
                "waiting_message": "no secret",
            },
            {},
            "CreateContainerConfigError",
            "cannot be created (no secret). Check the Secrets",
        ),
        ({"scheduled": True, "node": "n1"}, {}, "Creating", "pod lenet-0a1b2c3d-0-0 on node n1 is being created"),
    ],
    ids=["scheduling", "unschedulable", "claim", "image", "config", "creating"],
)
def test_the_culprit_is_named_when_a_pod_does_not_start(
    pod: dict[str, Any], claims: dict[str, ObservedClaim], reason: str, said: str
) -> None:
    job = accept()
    job = replace(job, pods=(replace(job.pods[0], **pod),), claims={**job.claims, **claims})

    status = status_after(job)

    assert (status.phase, status.reason) == (JobPhase.STARTING, reason)
    assert said in status.message


def test_the_graver_wait_is_named_when_several_pods_wait() -> None:
    job = accept(spec=make_spec(nodes=3))
    bad: dict[str, Any] = {"scheduled": True, "node": "n2", "waiting_reason": "ErrImagePull"}
    pods = (run_pod(job.pods[0]), job.pods[1], replace(job.pods[2], **bad))

    status = status_of(plan(replace(job, pods=pods)))

    assert status.reason == "ImagePullFailed"
    assert status.message.startswith("1 of 3 pods run; pod lenet-0a1b2c3d-0-2")
    assert status.nodes == 1


def test_ranks_are_joining_when_all_pods_of_a_gang_run() -> None:
    job = accept(spec=make_spec(nodes=2))
    pods = tuple(run_pod(pod) for pod in job.pods)

    status = status_of(plan(replace(job, pods=pods)))

    assert (status.phase, status.nodes) == (JobPhase.RENDEZVOUS, 2)
    assert "lenet-0a1b2c3d-0-0" in status.message


def test_figures_come_from_the_report_when_the_job_trains() -> None:
    status = train().status
    progress, latest = status.progress, latest_of(status)

    assert (status.phase, status.reason) == (JobPhase.TRAINING, "Training")
    assert progress
    assert (progress.step, progress.percent, progress.eta_seconds) == (100, 25, 62)
    assert (progress.metric, progress.samples_per_second) == ("accuracy 97.12 %", 1234.5)
    assert latest.step == 80
    assert latest.path == "0a1b2c3d-0000-4000-8000-000000000001/checkpoints/step-80"
    assert condition(status, "ProgressKnown") == ("True", "Reported")


def test_a_loss_of_before_is_not_that_of_now_when_training_has_diverged() -> None:
    """Whether the trainer could say so while it ran, or its last words alone do."""
    job, rest = train(), {"validation/accuracy": 0.9712}
    broken = ["train/loss", "no figure of the table"]
    last_words = make_record(Outcome.FAILED, metrics=rest, non_finite=broken)

    for observed in (
        replace(job, report=make_report(metrics=rest, non_finite=broken)),
        replace(job, pods=(end_pod(job.pods[0], record=last_words),)),
    ):
        progress = progress_of(status_of(plan(observed)))
        assert progress.non_finite == ["train/loss"]
        assert progress.metrics.keys() & {"train/loss", "validation/accuracy"} == {"validation/accuracy"}


def test_the_write_may_wait_when_only_the_progress_is_new() -> None:
    job = train()

    planned = plan(replace(job, report=make_report(step=101)))

    assert progress_of(status_of(planned)).step == 101
    assert not planned.urgent


def test_nothing_is_written_when_the_trainer_says_the_same_again() -> None:
    job = train()
    later = replace(make_report(), answered=NOW + 5)

    assert plan(replace(job, report=later), now=NOW + 5).status is None


def test_phase_stays_and_progress_is_unknown_when_the_trainer_does_not_answer() -> None:
    job = train()
    silent = replace(job, report=make_report(failing_since=NOW - 31))

    planned = plan(silent)
    status = status_of(planned)

    assert status.phase is JobPhase.TRAINING
    assert condition(status, "ProgressKnown") == ("False", "ProgressUnknown")
    assert "NetworkPolicy" in next(c.message for c in status.conditions if c.type == "ProgressKnown")
    assert not planned.urgent


def test_one_missed_answer_says_nothing_yet_when_the_trainer_is_busy() -> None:
    silent = replace(train(), report=make_report(failing_since=NOW - 5))

    planned = plan(silent)

    assert planned.status is None
    assert planned.wake_at == NOW + 15


def test_phase_stays_when_the_operator_has_just_begun_to_look() -> None:
    job = replace(train(), report=WorkerReport(status=None))

    planned = plan(job, now=NOW + 1)

    assert planned.status is None


def test_a_report_of_an_earlier_attempt_says_nothing() -> None:
    job = train(status={"attempt": 1, "nodes": 1})
    pod = run_pod(make_pod(status=job.status))

    planned = plan(replace(job, pods=(pod,), report=make_report(attempt=0, step=399)))

    assert planned.status is None


def test_seconds_are_summed_by_phase_when_the_phase_changes() -> None:
    job = train()
    done = replace(job, pods=(end_pod(job.pods[0], record=make_record()),))

    status = status_of(plan(done, now=NOW + 40))

    assert status.phases == {"Starting": 0.0, "Training": 40.0}
    assert status.phase_since == format_time(NOW + 40)


def test_job_succeeds_with_the_last_figures_when_every_pod_has() -> None:
    job = train(spec=make_spec(nodes=2))
    record = make_record(metrics={"validation/accuracy": 0.9801}, export="export/model.safetensors")
    pods = (end_pod(job.pods[0], record=record), end_pod(job.pods[1], record=make_record(node=1)))

    planned = plan(replace(job, pods=pods))
    status = status_of(planned)

    assert (status.phase, status.completion_time) == (JobPhase.SUCCEEDED, after(0))
    assert "trained 400 steps, validation accuracy 98.01 %" in status.message
    assert status.checkpoint
    assert status.checkpoint.export.endswith("/export/model.safetensors")
    assert condition(status, "Complete") == ("True", "Finished")
    assert progress_of(status).percent == 100
    assert [(event.reason, event.warning) for event in planned.events] == [("Succeeded", False)]
    assert [other.kind for other in planned.others] == ["Dataset"]


def test_job_goes_on_when_only_some_pods_have_ended_well() -> None:
    job = train(spec=make_spec(nodes=2))
    pods = (job.pods[0], end_pod(job.pods[1], record=make_record(node=1)))

    status = status_after(replace(job, pods=pods))

    assert (status.phase, status.nodes) == (JobPhase.TRAINING, 2)


def test_success_is_declared_without_a_second_reading_when_nothing_is_to_be_deleted() -> None:
    job = train()
    done = replace(job, pods=(end_pod(job.pods[0], record=make_record()),))

    planned = plan_job(done, now=NOW, settings=SETTINGS)

    assert (planned.confirm, planned.delete) == ((), ())
    assert status_of(planned).phase is JobPhase.SUCCEEDED


def test_success_is_confirmed_when_pods_are_to_go() -> None:
    job = train(spec=make_spec(run_policy={"cleanPodPolicy": "All"}))
    done = replace(job, pods=(end_pod(job.pods[0], record=make_record()),))

    planned = plan_job(done, now=NOW, settings=SETTINGS)

    assert {reference.kind for reference in planned.confirm} == {"TrainingJob", "Pod"}
    assert planned.status is None


def test_a_pod_that_ended_with_zero_and_no_success_is_no_success() -> None:
    job = train()
    done = replace(job, pods=(end_pod(job.pods[0], record=make_record(Outcome.SUSPENDED)),))

    assert status_of(plan(done)).phase is JobPhase.RESTARTING


def test_a_finished_job_creates_nothing_when_its_pods_are_gone() -> None:
    job = train()
    done = replace(job, pods=(end_pod(job.pods[0], record=make_record()),))
    done = replace(done, status=status_of(plan(done)))

    gone = replace(done, pods=())
    planned = plan(gone, now=NOW + 999)

    assert not planned.create
    assert status_after(gone, now=NOW + 999).phase is JobPhase.SUCCEEDED
    assert planned.wake_at is None


def test_only_the_missing_pod_is_created_when_the_operator_died_in_between() -> None:
    job = accept(spec=make_spec(nodes=2))
    half = replace(job, pods=job.pods[:1])

    unconfirmed = plan_job(half, now=NOW, settings=SETTINGS)
    planned = plan(half)

    assert unconfirmed.confirm
    assert not unconfirmed.create
    assert [manifest["metadata"]["name"] for manifest in planned.create][-1] == "lenet-0a1b2c3d-0-1"
    assert sum(manifest["kind"] == "Pod" for manifest in planned.create) == 1


@pytest.mark.parametrize("age", [1.0, 31.0], ids=["at once", "half a minute later"])
def test_a_refused_pod_is_asked_for_again_after_a_while(age: float) -> None:
    job = replace(accept(), pods=())
    refusals = {"lenet-0a1b2c3d-0-0": Refusal(message="exceeded quota: gpus", time=NOW - age)}

    planned = plan(replace(job, refusals=refusals))

    assert bool(planned.create) is (age > 30)
    if not planned.create:
        assert status_of(planned).reason == "QuotaExceeded"
        assert "refuses Pod lenet-0a1b2c3d-0-0: exceeded quota: gpus" in status_of(planned).message
        assert planned.wake_at == NOW - age + 30


def test_job_fails_when_the_server_calls_a_pod_invalid() -> None:
    job = replace(accept(), pods=())
    refusals = {"lenet-0a1b2c3d-0-0": Refusal(message="affinity: bad", time=NOW, status=422)}

    status = status_of(plan(replace(job, refusals=refusals)))

    assert (status.phase, status.reason) == (JobPhase.FAILED, "CreationRefused")


def test_the_run_goes_on_as_it_was_accepted_when_the_spec_is_changed() -> None:
    job = train()
    changed = replace(job, object=replace(job.object, generation=2, spec=make_spec(model={"name": "mlp"})))

    status = status_of(plan(changed))

    assert condition(status, "Valid") == ("False", "SpecChanged")
    assert (status.phase, status.run, status.observed_generation) == (JobPhase.TRAINING, job.status.run, 2)
    valid = next(c for c in status.conditions if c.type == "Valid")
    assert "spec.model.name must stay 'lenet'" in valid.message


def test_warnings_of_the_trainer_reach_the_message() -> None:
    job = train()
    report = make_report(warnings=["checkpoint step-60 is corrupt and was skipped"], non_finite=["train/loss"])

    message = status_of(plan(replace(job, report=report))).message

    assert "step-60 is corrupt" in message
    assert "not finite: train/loss" in message


def test_a_pod_that_got_its_node_is_not_worth_a_write_at_once() -> None:
    job = accept()
    placed = replace(job, pods=tuple(replace(pod, scheduled=True, node="n") for pod in job.pods))

    planned = plan(placed)

    assert status_of(planned).reason == "Creating"
    assert not planned.urgent


def test_run_keeps_the_hash_with_which_it_was_frozen_when_another_operator_would_give_it_another_one() -> None:
    job = train()
    status = job.status.model_copy(update={"run": {**(job.status.run or {}), "hash": "frozen-long-ago"}})
    older = replace(job, status=status, pods=tuple(replace(pod, run_hash="frozen-long-ago") for pod in job.pods))

    planned = plan(older)

    assert (planned.create, planned.delete, planned.status) == ((), (), None)
