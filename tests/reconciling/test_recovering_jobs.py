"""After a failure: which cause, what it costs, and what comes next."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from reconciling.job_states import (
    NOW,
    SETTINGS,
    accept,
    after,
    end_pod,
    latest_of,
    make_checkpoint,
    make_failure,
    make_pod,
    make_record,
    make_report,
    make_spec,
    names_of,
    plan,
    run_pod,
    status_after,
    status_of,
    train,
)

from oarlock_api.contract import Cause, Outcome
from oarlock_api.v1alpha1.status import FailureRecord, JobPhase
from oarlock_operator.manifests.workers import KILL_MARGIN_SECONDS
from oarlock_operator.reconcile.observed import ObservedJob, ObservedPod
from oarlock_operator.reconcile.training_job import plan_job

Change = Callable[[ObservedPod], ObservedPod]


def break_pod(job: ObservedJob, change: Change, *, rank: int = 0) -> ObservedJob:
    return replace(job, pods=tuple(change(pod) if pod.rank == rank else pod for pod in job.pods))


def fail_with(cause: str, **fields: Any) -> Change:
    return lambda pod: end_pod(pod, exit_code=1, record=make_failure(cause, **fields))


def kill_with(**fields: Any) -> Change:
    return lambda pod: end_pod(pod, **{"exit_code": 1, **fields})


@pytest.mark.parametrize(
    ("change", "cause", "counted"),
    [
        (kill_with(pod_reason="Evicted", pod_message="low on memory"), "Evicted", 0),
        (kill_with(disruption="PreemptionByScheduler", exit_code=75), "Preempted", 0),
        (kill_with(disruption="DeletionByTaintManager"), "NodeLost", 0),
        (kill_with(pod_reason="OutOfcpu", exit_code=None, phase="Failed"), "NodeRefused", 0),
        (lambda pod: replace(pod, deleting=True), "PodDeleted", 0),
        (kill_with(exit_code=75), "Interrupted", 0),
        (kill_with(exit_code=143), "Interrupted", 0),
        (fail_with("CollectiveFailed"), "CollectiveFailed", 0),
        (fail_with("Hung"), "Hung", 0),
        (kill_with(exit_code=137), "ProcessKilled", 0),
        (kill_with(exit_code=69), "RendezvousFailed", 0),
        (kill_with(container_reason="OOMKilled", exit_code=137), "OutOfMemory", 1),
        (kill_with(pod_reason="Evicted", pod_message="scratch exceeds the limit"), "StorageFull", 1),
        (fail_with("UserError"), "UserError", 1),
        (fail_with("NonFinite"), "NonFinite", 1),
        (kill_with(exit_code=3), "Unknown", 1),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_new_attempt_starts_and_costs_by_cause(change: Change, cause: str, counted: int) -> None:
    planned = plan(break_pod(train(), change))
    status = status_of(planned)

    assert (status.phase, status.reason, status.attempt) == (JobPhase.RESTARTING, cause, 1)
    assert (status.restarts, status.restart_count, status.counted_restarts) == ({cause: 1}, 1, counted)
    assert [failure.cause for failure in status.failures] == [cause]
    assert status.retry_after == after(SETTINGS.retry_delay_seconds)
    assert planned.wake_at == NOW + SETTINGS.retry_delay_seconds
    assert not planned.create


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (fail_with("ConfigInvalid"), "ConfigInvalid"),
        (fail_with("DataMissing"), "DataMissing"),
        (fail_with("DataCorrupt"), "DataCorrupt"),
        (fail_with("CheckpointMismatch"), "CheckpointMismatch"),
        (kill_with(container_reason="StartError", exit_code=128), "ContainerRefused"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_job_fails_with_its_black_box_when_trying_again_is_useless(change: Change, cause: str) -> None:
    planned = plan(break_pod(train(spec=make_spec(nodes=2)), change, rank=1))
    status = status_of(planned)

    assert (status.phase, status.reason, status.attempt) == (JobPhase.FAILED, cause, 0)
    assert f"{cause} does not go away by trying again" in status.message
    assert status.failures[-1].pod == "lenet-0a1b2c3d-0-1"
    assert [deletion.reference.name for deletion in planned.delete] == ["lenet-0a1b2c3d-0-0"]
    assert status.completion_time == after(0)
    assert [event.warning for event in planned.events] == [True]


def test_nothing_is_restarted_on_the_word_of_a_cache() -> None:
    planned = plan_job(break_pod(train(), fail_with("UserError")), now=NOW, settings=SETTINGS)

    assert {(each.kind, each.name) for each in planned.confirm} == {
        ("TrainingJob", "lenet"),
        ("Pod", "lenet-0a1b2c3d-0-0"),
    }
    assert (planned.status, planned.delete, planned.create) == (None, (), ())


def test_the_record_of_the_first_failing_rank_is_the_black_box() -> None:
    record = make_failure("UserError", "ValueError: bad label", rank=5, step=91, detail="Traceback …")
    job = train(spec=make_spec(nodes=3))
    job = break_pod(
        job, lambda pod: end_pod(pod, exit_code=80, finished=NOW - 2, record=make_failure("CollectiveFailed"))
    )
    job = break_pod(job, lambda pod: end_pod(pod, exit_code=70, finished=NOW - 1, record=record), rank=2)

    failure = status_of(plan(job)).failures[-1]

    assert (failure.cause, failure.message, failure.remedy) == (
        "UserError",
        "pod lenet-0a1b2c3d-0-2 on node node-2: ValueError: bad label",
        "mend it",
    )
    assert (failure.rank, failure.step, failure.detail) == (5, 91, "Traceback …")
    assert (failure.pod, failure.pod_uid, failure.node) == ("lenet-0a1b2c3d-0-2", "pod-0-2", "node-2")


def test_the_culprit_is_waited_for_when_only_its_victims_are_known() -> None:
    job = break_pod(train(spec=make_spec(nodes=2)), fail_with("CollectiveFailed"))

    planned = plan(job, now=NOW + 1)

    assert (status_of(planned).phase, status_of(planned).attempt) == (JobPhase.TRAINING, 0)
    assert planned.wake_at == NOW + 5
    assert not planned.delete
    assert status_of(plan(job, now=NOW + 5)).reason == "CollectiveFailed"


def test_all_pods_go_at_once_when_one_has_failed() -> None:
    planned = plan(break_pod(train(spec=make_spec(nodes=3)), fail_with("UserError"), rank=1))

    assert [deletion.uid for deletion in planned.delete] == ["pod-0-0", "pod-0-1", "pod-0-2"]


def test_a_pod_that_vanished_is_a_free_restart() -> None:
    job = train(spec=make_spec(nodes=2))

    status = status_of(plan(replace(job, pods=job.pods[:1])))

    assert (status.reason, status.counted_restarts) == ("PodDeleted", 0)
    assert "pod lenet-0a1b2c3d-0-1 (node rank 1) is gone" in status.message


def test_a_pod_that_vanished_is_a_free_restart_when_another_has_ended_well_whatever_the_status_says() -> None:
    job = train(spec=make_spec(nodes=2), status={"nodes": 0, "phase": JobPhase.STARTING})
    first = end_pod(job.pods[0], record=make_record())

    planned = plan(replace(job, pods=(first,), report=None))

    assert status_of(planned).reason == "PodDeleted"
    assert planned.create == ()


def test_a_pod_on_a_lost_node_is_a_free_restart() -> None:
    job = replace(train(spec=make_spec(nodes=2)), lost_nodes=frozenset({"node-1"}))

    status = status_of(plan(job))

    assert (status.reason, status.failures[-1].node) == ("NodeLost", "node-1")


@pytest.mark.parametrize("answers", [True, False], ids=["answers", "silent"])
def test_the_node_of_rank_0_is_lost_only_when_rank_0_is_silent(answers: bool) -> None:  # noqa: FBT001
    report = make_report(failing_since=None if answers else NOW - 40)
    job = replace(train(), lost_nodes=frozenset({"node-0"}), report=report)

    assert (status_after(job).phase is JobPhase.RESTARTING) is not answers


def restarted(**status: Any) -> ObservedJob:
    """A job between two attempts, whose back-off is over and whose old pod still ends."""
    job = break_pod(train(), kill_with(disruption="EvictionByEvictionAPI"))
    values = {"retry_after": after(0), **status}
    old = replace(job.pods[0], deleting=True)
    return replace(job, status=status_of(plan(job)).model_copy(update=values), pods=(old,), report=None)


def test_new_pods_wait_for_the_old_ones_to_be_gone() -> None:
    job = restarted()

    waiting, ready = plan(job, now=NOW + 9), plan(replace(job, pods=()), now=NOW + 9)

    assert not waiting.create
    assert "Pod lenet-0a1b2c3d-0-0 of the attempt before is still ending" in status_of(waiting).message
    assert "lenet-0a1b2c3d-1-0" in names_of(ready.create)
    assert status_of(ready).phase is JobPhase.STARTING


def test_new_pods_do_not_wait_for_old_ones_on_a_lost_node() -> None:
    planned = plan(replace(restarted(), lost_nodes=frozenset({"node-0"})), now=NOW + 9)

    assert "lenet-0a1b2c3d-1-0" in names_of(planned.create)


def test_new_pods_are_confirmed_not_to_follow_unseen_old_ones() -> None:
    planned = plan_job(replace(restarted(), pods=()), now=NOW + 9, settings=SETTINGS)

    assert {"lenet-0a1b2c3d-0-0", "lenet-0a1b2c3d-1-0"} <= {each.name for each in planned.confirm}


def test_new_pods_wait_for_the_back_off() -> None:
    planned = plan(replace(restarted(retry_after=after(20)), pods=()))

    assert not planned.create
    assert planned.wake_at == NOW + 20


def test_new_pods_have_longer_to_save_when_saves_were_slow() -> None:
    report = make_report(metrics={"checkpointDurableSeconds": 100.0})
    slow = replace(train(), report=report)
    failed = status_of(plan(break_pod(slow, kill_with(exit_code=137))))

    planned = plan(replace(slow, status=failed, pods=(), report=None), now=NOW + 9)

    assert planned.create[-1]["spec"]["terminationGracePeriodSeconds"] == 300 + KILL_MARGIN_SECONDS


def test_the_delay_doubles_when_attempts_fail_one_after_the_other() -> None:
    seen = FailureRecord(attempt=0, cause="Evicted", message="", time=after(-50))
    job = train(status={"failures": [seen], "retry_after": after(-10)})

    status = status_of(plan(break_pod(job, kill_with(disruption="EvictionByEvictionAPI"))))

    assert status.retry_after == after(80)


def test_the_job_fails_when_a_counted_restart_brought_no_checkpoint() -> None:
    job = train(status={"resume_floor": 80, "counted_restarts": 1})

    status = status_of(plan(break_pod(job, fail_with("UserError"))))

    assert status.phase is JobPhase.FAILED
    assert "the last restart brought no new checkpoint" in status.message


def test_the_job_goes_on_when_a_counted_restart_brought_a_checkpoint() -> None:
    job = train(status={"resume_floor": 79, "counted_restarts": 1})

    status = status_of(plan(break_pod(job, fail_with("UserError"))))

    assert (status.phase, status.counted_restarts, status.resume_floor) == (JobPhase.RESTARTING, 2, 80)


def test_the_job_fails_when_the_budget_is_spent() -> None:
    job = train(status={"counted_restarts": 3})

    assert "backoffLimit is 3" in status_of(plan(break_pod(job, fail_with("UserError")))).message


def test_infrastructure_counts_when_nothing_advances() -> None:
    job = train(status={"resume_floor": 80})

    status = status_of(plan(break_pod(job, fail_with("Hung"))))

    assert (status.phase, status.counted_restarts) == (JobPhase.RESTARTING, 1)


def test_the_checkpoint_of_the_ended_pod_counts_as_progress() -> None:
    record = make_record(Outcome.SUSPENDED, checkpoint_latest=make_checkpoint(90, time=NOW + 1))

    status = status_of(plan(break_pod(train(), kill_with(exit_code=75, record=record))))

    assert latest_of(status).step == 90


@pytest.mark.parametrize(
    ("waits", "cause", "phase"),
    [
        ({"waiting_reason": "ImagePullBackOff"}, "ImageUnavailable", JobPhase.FAILED),
        ({"waiting_reason": "CreateContainerConfigError"}, "ContainerRefused", JobPhase.FAILED),
        ({"waiting_reason": "ContainerCreating"}, "StartupDeadlineExceeded", JobPhase.RESTARTING),
    ],
    ids=["image", "container", "slow"],
)
def test_an_attempt_ends_when_it_does_not_start_in_time(waits: dict[str, Any], cause: str, phase: JobPhase) -> None:
    job = accept()
    job = replace(job, pods=(run_pod(job.pods[0], phase="Pending", **waits),))

    before, late = plan(job, now=NOW + 599), status_of(plan(job, now=NOW + 600))

    assert before.wake_at == NOW + 600
    assert (late.phase, late.reason) == (phase, cause)


def test_nodes_are_given_back_when_only_some_pods_of_a_gang_get_one() -> None:
    job = accept(spec=make_spec(nodes=2))
    pods = (run_pod(job.pods[0]), replace(job.pods[1], unschedulable="0/1 nodes"))

    status = status_of(plan(replace(job, pods=pods), now=NOW + 601))

    assert (status.phase, status.reason, status.counted_restarts) == (JobPhase.RESTARTING, "Unschedulable", 0)
    assert "1 of 2 pods held their nodes for 600 s" in status.message


def test_a_job_waits_for_ever_when_no_pod_has_a_node() -> None:
    status = status_after(accept(), now=NOW + 86_400)

    assert status.phase is JobPhase.STARTING


def test_the_startup_deadline_spares_a_trainer_that_cannot_be_asked() -> None:
    job = accept()
    job = replace(job, pods=(run_pod(job.pods[0]),))

    planned = plan(job, now=NOW + 9000)

    assert status_of(planned).phase is JobPhase.STARTING
    assert planned.wake_at is None


@pytest.mark.parametrize(("retries", "phase"), [(0, JobPhase.RESTARTING), (1, JobPhase.TRAINING)])
def test_the_startup_deadline_spares_a_trainer_that_joins_again(retries: int, phase: JobPhase) -> None:
    job = replace(train(), report=make_report(phase="Rendezvous", retries=retries))

    assert status_of(plan(job, now=NOW + 9000)).phase is phase


def test_the_job_fails_when_it_takes_longer_than_it_may() -> None:
    job = train(spec=make_spec(run_policy={"activeDeadlineSeconds": 100}))

    before, late = plan(job, now=NOW + 99), status_of(plan(job, now=NOW + 100))

    assert before.wake_at == NOW + 100
    assert (late.phase, late.reason) == (JobPhase.FAILED, "ActiveDeadlineExceeded")


def test_seconds_of_suspension_do_not_count_against_the_active_deadline() -> None:
    job = train(
        spec=make_spec(run_policy={"activeDeadlineSeconds": 100}),
        status={"phases": {"Suspended": 5000.0, "WaitingForData": 300.0, "Training": 50.0}},
    )

    assert status_after(job, now=NOW + 49).phase is JobPhase.TRAINING
    assert status_after(job, now=NOW + 50).phase is JobPhase.FAILED


def test_the_next_attempt_is_beyond_a_pod_of_a_later_one() -> None:
    job = train()
    unknown = make_pod(status=job.status, attempt=6, phase="Running", node="n")
    failing = break_pod(job, kill_with(exit_code=EXIT_SUPERSEDED))

    assert status_of(plan(replace(failing, pods=(*failing.pods, unknown)))).attempt == 7


EXIT_SUPERSEDED = 76


def test_the_attempt_is_restarted_when_a_later_one_owns_the_volume() -> None:
    status = status_of(plan(break_pod(train(), kill_with(exit_code=EXIT_SUPERSEDED))))

    assert status.restarts == {Cause.SUPERSEDED: 1}
