"""A job that begins with the weights of another one."""

from dataclasses import replace
from typing import Any

import pytest
from reconciling.job_states import (
    NOW,
    accept,
    end_pod,
    make_claim,
    make_earlier,
    make_failure,
    make_pod,
    make_report,
    make_spec,
    observe,
    plan,
    status_of,
    train,
)

from oarlock_api import contract
from oarlock_api.contract import Cause
from oarlock_api.v1alpha1.status import JobPhase, TrainingJobStatus
from oarlock_operator.reconcile.observed import ObservedClaim, ObservedEarlierJob, ObservedJob
from oarlock_operator.reconcile.plans import Plan

WEIGHTS = make_claim("weights", labels={})
CLAIMS = {"weights": WEIGHTS}


def spec(claim: str | None = None, *, nodes: int = 1, **model: Any) -> dict[str, Any]:
    volume = {"checkpoints": {"volume": {"claim": claim}}} if claim else {}
    return make_spec(nodes=nodes, model={"name": "lenet", "initFrom": {"job": "base"}, **model}, **volume)


@pytest.mark.parametrize(
    ("earlier", "reason", "says"),
    [
        (None, "InitJobMissing", "there is no TrainingJob base in this namespace. Apply it"),
        (make_earlier(JobPhase.TRAINING), "InitJobUnfinished", "TrainingJob base, whose weights it begins with, is Tr"),
        (make_earlier(deleting=True), "InitJobTerminating", "is being deleted. Apply it again once it is gone"),
        (make_earlier(saved=False), "InitJobWithoutCheckpoint", "has finished and left no checkpoint"),
    ],
)
def test_a_job_waits_for_the_one_whose_weights_it_begins_with(
    earlier: ObservedEarlierJob | None, reason: str, says: str
) -> None:
    planned = plan(observe(spec=spec(), earlier=earlier, claims=CLAIMS))
    status = status_of(planned)

    assert (status.phase, status.reason) == (JobPhase.WAITING_FOR_DATA, reason)
    assert says in status.message
    said = {each.type: each.reason for each in status.conditions if each.status == "False"}
    assert said == {"InitialWeightsReady": reason}
    assert not planned.create
    assert planned.wake_at is not None
    assert planned.wake_at <= NOW + 10


def test_a_job_that_would_begin_with_its_own_weights_says_so() -> None:
    status = status_of(plan(observe(spec=spec(initFrom={"job": "lenet"}))))

    assert status.reason == "InitJobIsItself"


@pytest.mark.parametrize("phase", [JobPhase.SUCCEEDED, JobPhase.FAILED])
def test_pods_see_the_volume_of_a_finished_job_read_only(phase: JobPhase) -> None:
    container, volumes = pod_of(spec(), make_earlier(phase))

    assert variable(container) == "/oarlock/first-weights/base-uid"
    (mount,) = (each for each in container["volumeMounts"] if each["mountPath"] == contract.FIRST_WEIGHTS_MOUNT)
    assert mount["readOnly"] is True
    (volume,) = (each for each in volumes if each["name"] == mount["name"])
    assert volume["persistentVolumeClaim"] == {"claimName": "weights"}


@pytest.mark.parametrize(
    ("model", "path"),
    [
        ({"initFrom": {"job": "base"}}, "/oarlock/runs/base-uid"),
        ({"initFrom": {"path": "a/b.safetensors"}}, "/oarlock/runs/a/b.safetensors"),
        ({"name": None, "initFrom": None, "timm": {"name": "x", "weights": "w.pth"}}, "/oarlock/runs/w.pth"),
        ({"name": None, "initFrom": None, "timm": {"name": "x", "weights": "/oarlock/data/w"}}, "/oarlock/data/w"),
    ],
)
def test_nothing_more_is_mounted_for_weights_on_the_jobs_own_volume(model: dict[str, Any], path: str) -> None:
    given = spec("weights", **model)
    given["model"] = {name: value for name, value in given["model"].items() if value is not None}
    container, volumes = pod_of(given, make_earlier())

    assert variable(container) == path
    claims = [each["persistentVolumeClaim"]["claimName"] for each in volumes if "persistentVolumeClaim" in each]
    assert claims == ["fashion-data", "weights"]
    assert contract.FIRST_WEIGHTS_MOUNT not in {each["mountPath"] for each in container["volumeMounts"]}


@pytest.mark.parametrize(
    ("claim", "reason", "says"),
    [
        (None, "InitJobClaimMissing", "is not there. Restore it, or apply this job anew"),
        (replace(WEIGHTS, deleting=True), "InitJobClaimTerminating", "is being deleted. Restore it under its name"),
        (replace(WEIGHTS, phase="Lost"), "InitJobClaimLost", "is Lost: its volume is gone. Restore the volume, or"),
    ],
    ids=["missing", "leaving", "lost"],
)
def test_no_pod_is_created_that_would_wait_for_the_claim_of_the_earlier_job(
    claim: ObservedClaim | None, reason: str, says: str
) -> None:
    claims = {"weights": claim} if claim else {}
    fresh = plan(observe(spec=spec(), earlier=make_earlier(), claims=claims))
    accepted = accept(spec=spec(), earlier=make_earlier(), claims=CLAIMS)
    own = {"lenet-checkpoints": make_claim()}
    started = plan(replace(accepted, pods=(), earlier=None, claims={**claims, **own}))

    for planned, phase in ((fresh, JobPhase.WAITING_FOR_DATA), (started, JobPhase.STARTING)):
        status = status_of(planned)
        assert (status.phase, status.reason, planned.create) == (phase, reason, ())
        assert (
            f"claim weights with the weights of TrainingJob base, with which this one begins, {says}" in status.message
        )


@pytest.mark.parametrize("mode", ["ReadWriteOnce", "ReadWriteOncePod"])
def test_a_job_of_several_nodes_is_refused_when_one_node_alone_can_mount_the_weights(mode: str) -> None:
    def take(access_modes: tuple[str, ...], claim: str | None = None) -> TrainingJobStatus:
        claims = {"weights": replace(WEIGHTS, access_modes=access_modes)}
        return status_of(plan(observe(spec=spec(claim, nodes=2), earlier=make_earlier(), claims=claims)))

    refused = take((mode,))
    assert (refused.phase, refused.reason) == (JobPhase.INVALID, "InvalidSpec")
    assert f"spec.workers.nodes must be 1 to begin with the weights on claim weights, which is {mode}, got 2" in (
        refused.message
    )
    assert "begin with the weights on" not in take((mode,), claim="weights").message
    assert take(("ReadOnlyMany",)).phase is take(("ReadWriteMany",)).phase is JobPhase.STARTING


def after_failure(cause: str, *, has_checkpoint: bool = True) -> ObservedJob:
    """A job of one node that is to start its second attempt."""
    claims = {**CLAIMS, "lenet-checkpoints": make_claim()}
    job = train(spec=spec(), earlier=make_earlier(), claims=claims)
    job = replace(job, report=job.report if has_checkpoint else make_report(checkpoint_latest=None), earlier=None)
    job = replace(job, status=job.status if has_checkpoint else job.status.model_copy(update={"checkpoint": None}))
    failed = replace(job, pods=(end_pod(job.pods[0], exit_code=1, record=make_failure(cause)),))
    return replace(job, status=status_of(plan(failed)), pods=(), report=None)


def test_a_run_with_a_checkpoint_starts_again_when_the_earlier_job_and_its_claim_are_gone() -> None:
    job = after_failure(Cause.PROCESS_KILLED)
    own = {"lenet-checkpoints": make_claim()}

    assert "weights" not in find_mounted(plan(job, now=NOW + 99))
    planned = plan(replace(job, claims=own), now=NOW + 99)
    assert status_of(planned).phase is JobPhase.STARTING
    # Where they would be is said all the same: a trainer that finds no checkpoint must not begin at random.
    assert variable(find_pod(planned)["spec"]["containers"][0]) == "/oarlock/first-weights/base-uid"


def test_a_run_without_a_checkpoint_starts_again_with_the_first_weights() -> None:
    job = after_failure(Cause.PROCESS_KILLED, has_checkpoint=False)

    assert "weights" in find_mounted(plan(job, now=NOW + 99))
    assert status_of(plan(replace(job, claims={}), now=NOW + 99)).reason == "ClaimLost"
    own = {"lenet-checkpoints": make_claim()}
    assert status_of(plan(replace(job, claims=own), now=NOW + 99)).reason == "InitJobClaimMissing"


def test_the_first_weights_are_mounted_if_they_are_there_when_the_checkpoints_could_not_be_used() -> None:
    job = after_failure(Cause.STORAGE_FAILED)
    own = {"lenet-checkpoints": make_claim()}

    assert "weights" in find_mounted(plan(job, now=NOW + 99))
    for weights in ({}, {"weights": replace(WEIGHTS, phase="Lost")}, {"weights": replace(WEIGHTS, deleting=True)}):
        assert "weights" not in find_mounted(plan(replace(job, claims={**own, **weights}), now=NOW + 99))


@pytest.mark.parametrize(("has_checkpoint", "reason"), [(True, "Scheduling"), (False, "ClaimLost")])
def test_a_lost_claim_of_the_earlier_job_is_blamed_only_when_pods_without_a_node_need_it(
    has_checkpoint: bool,  # noqa: FBT001
    reason: str,
) -> None:
    job = after_failure(Cause.PROCESS_KILLED, has_checkpoint=has_checkpoint)
    lost = {**job.claims, "weights": replace(WEIGHTS, phase="Lost")}
    status = status_of(plan(replace(job, claims=lost, pods=(make_pod(status=job.status),)), now=NOW + 99))

    assert status.reason == reason


def pod_of(given: dict[str, Any], earlier: ObservedEarlierJob) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    pod = find_pod(plan(observe(spec=given, earlier=earlier, claims=CLAIMS)))
    return pod["spec"]["containers"][0], pod["spec"]["volumes"]


def find_pod(planned: Plan) -> dict[str, Any]:
    (pod,) = (each for each in planned.create if each["kind"] == "Pod")
    return pod


def find_mounted(planned: Plan) -> set[str]:
    volumes = find_pod(planned)["spec"]["volumes"]
    return {each["persistentVolumeClaim"]["claimName"] for each in volumes if "persistentVolumeClaim" in each}


def variable(container: dict[str, Any]) -> str | None:
    return next((each["value"] for each in container["env"] if each["name"] == contract.FIRST_WEIGHTS_ENV), None)
