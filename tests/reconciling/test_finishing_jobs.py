"""The end of a job: when it has succeeded, which pods stay, and when it is deleted itself."""

from dataclasses import replace
from typing import Any

import pytest
from reconciling.job_states import (
    JOB_UID,
    NOW,
    SETTINGS,
    end_pod,
    make_failure,
    make_record,
    make_spec,
    plan,
    status_after,
    status_of,
    train,
)

from oarlock_api.v1alpha1.status import JobPhase
from oarlock_operator.reconcile.observed import ObservedJob
from oarlock_operator.reconcile.plans import Plan
from oarlock_operator.reconcile.training_job import plan_job


def deleted(planned: Plan) -> list[str]:
    return [deletion.reference.name for deletion in planned.delete]


def end_first(job: ObservedJob) -> ObservedJob:
    """End the pod of node 0 well; the others go on."""
    ended = end_pod(job.pods[0], record=make_record(node=0))
    return replace(job, pods=(ended, *job.pods[1:]))


def finish(**policy: Any) -> ObservedJob:
    """A job of two nodes that succeeded now, one of whose pods still runs."""
    job = end_first(train(spec=make_spec(nodes=2, run_policy={"successPolicy": "FirstNode", **policy})))
    return replace(job, status=status_of(plan(job)))


def test_job_waits_for_all_nodes_when_nothing_else_is_said() -> None:
    job = end_first(train(spec=make_spec(nodes=2)))

    assert status_after(job).phase is JobPhase.TRAINING


def test_job_has_succeeded_when_its_first_node_has_and_that_is_enough() -> None:
    planned = plan(end_first(train(spec=make_spec(nodes=2, run_policy={"successPolicy": "FirstNode"}))))

    assert status_of(planned).phase is JobPhase.SUCCEEDED
    assert deleted(planned) == ["lenet-0a1b2c3d-0-1"]


@pytest.mark.parametrize("policy", ["AllNodes", "FirstNode"])
def test_job_has_not_succeeded_when_its_first_node_failed(policy: str) -> None:
    job = train(spec=make_spec(nodes=2, run_policy={"successPolicy": policy}))
    failed = end_pod(job.pods[0], exit_code=70, record=make_failure("UserError"))

    assert status_after(replace(job, pods=(failed, job.pods[1]))).phase is JobPhase.RESTARTING


@pytest.mark.parametrize(
    ("policy", "removed"),
    [("Running", ["lenet-0a1b2c3d-0-1"]), ("All", ["lenet-0a1b2c3d-0-0", "lenet-0a1b2c3d-0-1"]), ("None", [])],
)
def test_pods_of_a_finished_job_go_as_its_policy_says(policy: str, removed: list[str]) -> None:
    job = train(spec=make_spec(nodes=2, run_policy={"successPolicy": "FirstNode", "cleanPodPolicy": policy}))

    at_the_end, later = plan(end_first(job)), plan(finish(cleanPodPolicy=policy))

    assert deleted(at_the_end) == deleted(later) == removed


def test_job_that_failed_cleans_up_like_one_that_succeeded() -> None:
    job = train(spec=make_spec(nodes=2, run_policy={"cleanPodPolicy": "All"}))
    failed = end_pod(job.pods[1], exit_code=78, record=make_failure("ConfigInvalid"))

    planned = plan(replace(job, pods=(job.pods[0], failed)))

    assert status_of(planned).phase is JobPhase.FAILED
    assert len(planned.delete) == 2


def test_figures_of_a_finished_job_stay_when_its_pods_are_gone() -> None:
    job = finish(cleanPodPolicy="All")

    after = status_after(replace(job, pods=(), report=None))

    assert (after.progress, after.checkpoint) == (job.status.progress, job.status.checkpoint)
    assert after.phase is JobPhase.SUCCEEDED


def test_finished_job_is_deleted_when_its_time_is_over_and_not_before() -> None:
    job = finish(ttlSecondsAfterFinished=60)

    early, due = plan(job, now=NOW + 59.9), plan(job, now=NOW + 60)

    assert "lenet" not in deleted(early)
    assert early.wake_at == NOW + 60
    assert [(each.reference.kind, each.reference.name, each.uid) for each in due.delete] == [
        ("TrainingJob", "lenet", JOB_UID)
    ]


def test_finished_job_is_not_deleted_on_the_word_of_a_cache() -> None:
    planned = plan_job(finish(ttlSecondsAfterFinished=0), now=NOW, settings=SETTINGS)

    assert ("TrainingJob", "lenet") in {(each.kind, each.name) for each in planned.confirm}
    assert not planned.delete


@pytest.mark.parametrize("completed", [None, "yesterday"])
def test_finished_job_stays_when_nobody_knows_since_when(completed: str | None) -> None:
    job = finish(ttlSecondsAfterFinished=0)
    unknown = job.status.model_copy(update={"completion_time": completed})

    assert "lenet" not in deleted(plan(replace(job, status=unknown), now=NOW + 1e6))


def test_finished_job_stays_when_it_has_no_time_to_live() -> None:
    assert plan(finish(), now=NOW + 1e9).wake_at is None
    assert "lenet" not in deleted(plan(finish(), now=NOW + 1e9))
