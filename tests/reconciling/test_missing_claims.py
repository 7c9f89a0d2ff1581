"""A job whose claim goes away: created anew while nothing can be lost, and never silently once something was."""

from dataclasses import replace
from typing import Any

import pytest
from reconciling.job_states import NOW, SETTINGS, accept, end_pod, kinds, make_claim, make_spec, plan, status_of, train

from oarlock_api.v1alpha1.status import JobPhase
from oarlock_operator.reconcile.observed import ObservedClaim, ObservedJob
from oarlock_operator.reconcile.training_job import plan_job

NOT_FOUND = '0/1 nodes are available: persistentvolumeclaim "{}" not found. not found'


def lose_claim(job: ObservedJob, **fields: Any) -> ObservedJob:
    """The same job after its claim was deleted, with pods that wait for it."""
    said = NOT_FOUND.format("lenet-checkpoints")
    pods = tuple(replace(pod, **{"unschedulable": said, **fields}) for pod in job.pods)
    return replace(job, pods=pods, claims={})


@pytest.mark.parametrize("nodes", [1, 2])
def test_the_claim_is_created_again_when_no_pod_has_run_yet(nodes: int) -> None:
    planned = plan(lose_claim(accept(spec=make_spec(nodes=nodes))), now=NOW + 90_000)

    assert kinds(planned)[0] == "PersistentVolumeClaim"
    assert "Pod" not in kinds(planned)


def test_the_claim_is_created_again_only_when_the_run_creates_it() -> None:
    job = lose_claim(accept(spec=make_spec(checkpoints={"volume": {"claim": "shared"}})))

    assert not plan(job).create


def test_a_new_claim_waits_for_the_end_of_the_old_one() -> None:
    gone = lose_claim(accept())
    planned = plan(replace(gone, claims={"lenet-checkpoints": make_claim(deleting=True)}))

    assert (status_of(planned).reason, planned.create) == ("ClaimTerminating", ())


def after_a_failure() -> ObservedJob:
    """A job that is to start its second attempt, and has a checkpoint."""
    job = train()
    failed = replace(job, pods=(end_pod(job.pods[0], exit_code=137),))
    return replace(job, status=status_of(plan(failed)), pods=(), report=None)


def test_the_loss_is_said_and_nothing_created_when_there_was_a_checkpoint() -> None:
    planned = plan(replace(after_a_failure(), claims={}), now=NOW + 60)
    status = status_of(planned)

    assert (status.phase, status.reason, planned.create) == (JobPhase.STARTING, "ClaimLost", ())
    assert "claim lenet-checkpoints with the checkpoint of step 80 is gone. Restore it" in status.message
    assert "delete the job and apply it again to begin anew" in status.message


def test_the_job_goes_on_when_the_lost_claim_is_back() -> None:
    job = after_a_failure()
    lost = replace(job, status=status_of(plan(replace(job, claims={}), now=NOW + 60)), claims={})

    assert not plan(lost, now=NOW + 61).create
    assert kinds(plan(replace(lost, claims=job.claims), now=NOW + 61)) == ["Pod"]


def test_a_running_pod_is_believed_more_than_a_missing_claim() -> None:
    job = replace(train(), claims={})

    assert not plan(job).create
    assert plan(job).status is None


@pytest.mark.parametrize(
    ("said", "reason", "remedy"),
    [
        (NOT_FOUND.format("fashion-data"), "ClaimMissing", "Restore claim fashion-data"),
        ('persistentvolumeclaim "fashion-data" is being deleted', "ClaimMissing", "Restore claim fashion-data"),
        ("pod has unbound immediate PersistentVolumeClaims", "ClaimPending", "their StorageClass"),
    ],
    ids=["missing", "deleted", "unbound"],
)
def test_a_claim_that_keeps_a_pod_from_its_node_is_named(said: str, reason: str, remedy: str) -> None:
    claims: dict[str, ObservedClaim] = {"lenet-checkpoints": make_claim()}
    job = accept(claims=claims)
    status = status_of(plan(replace(job, pods=(replace(job.pods[0], unschedulable=said),))))

    assert status.reason == reason
    assert remedy in status.message
    assert "add nodes" not in status.message


def test_the_claim_is_read_past_the_cache_before_it_is_called_lost() -> None:
    planned = plan_job(replace(after_a_failure(), claims={}), now=NOW + 60, settings=SETTINGS)

    assert "lenet-checkpoints" in [reference.name for reference in planned.confirm]
