"""What the queue decides of a job, done."""

from dataclasses import replace
from typing import Any

import pytest
from reconciling.job_states import (
    JOB_UID,
    NOW,
    SETTINGS,
    accept,
    after,
    condition,
    kinds,
    make_spec,
    observe,
    plan,
    run_pod,
    status_after,
    status_of,
    train,
)

from oarlock_api.v1alpha1.status import FailureRecord, JobPhase
from oarlock_operator.queueing.verdicts import Stand, Verdict
from oarlock_operator.reconcile.observed import ObservedJob
from oarlock_operator.reconcile.plans import Plan, Reference
from oarlock_operator.reconcile.training_job import plan_job

GPUS = make_spec(workers={"nodes": 1, "gpusPerNode": 8})
GRANTED = Verdict(stand=Stand.ADMITTED, reason="Admitted", message="has 8 nvidia.com/gpu")
WAITING = Verdict(
    stand=Stand.WAITING, reason="WaitingForCapacity", message="3rd in the queue", position=3, expected_start=NOW + 61
)
TAKEN = Verdict(
    stand=Stand.PREEMPTED,
    reason="Preempted",
    message="preempted by job a/b of priority 5",
    preempted_by="u",
    winner="a/b",
)


def queue(verdict: Verdict | None = WAITING, **fields: Any) -> ObservedJob:
    return observe(spec=GPUS, verdict=verdict, **fields)


def admit_and_train(**fields: Any) -> ObservedJob:
    return train(spec=GPUS, verdict=GRANTED, **fields)


@pytest.mark.parametrize("verdict", [None, WAITING], ids=["undecided", "waiting"])
def test_job_has_no_pods_while_it_waits(verdict: Verdict | None) -> None:
    planned = plan(queue(verdict))

    status = status_of(planned)
    assert (status.phase, kinds(planned)) == (JobPhase.QUEUED, [])
    assert condition(status, "Admitted") == ("False", status.reason)
    assert status.run


def test_job_is_told_its_place_and_about_when_it_starts() -> None:
    status = status_after(queue())

    assert (status.reason, status.message) == ("WaitingForCapacity", "3rd in the queue")
    assert status.queue
    assert (status.queue.position, status.queue.expected_start) == (3, "2027-01-15T08:01:00.000Z")


def test_verdict_is_in_the_same_write_after_which_pods_are_created() -> None:
    waiting = queue(status=status_after(queue()))

    planned = plan(replace(waiting, verdict=GRANTED))

    assert condition(status_of(planned), "Admitted") == ("True", "Admitted")
    assert kinds(planned) == ["PersistentVolumeClaim", "Pod"]
    assert status_of(planned).queue is None


def test_elastic_job_begins_with_the_nodes_that_it_was_granted() -> None:
    spec = make_spec(workers={"nodes": 4, "gpusPerNode": 8, "elastic": {"minNodes": 1, "maxNodes": 4}})
    waiting = observe(spec=spec, verdict=WAITING)
    granted = replace(waiting, status=status_after(waiting), verdict=replace(GRANTED, nodes=("n1", "n2")))

    status = status_after(granted)
    assert condition(status, "Admitted") == ("True", "Admitted")
    assert status.gang
    assert (status.gang.nodes, status.gang.wanted) == (2, 4)

    planned = plan(replace(granted, status=status))
    assert kinds(planned).count("Pod") == 2


def test_elastic_job_looks_for_no_more_room_while_others_wait() -> None:
    assert "Pod" in kinds(grow_later(others_wait=False))
    assert "Pod" not in kinds(grow_later(others_wait=True))


def grow_later(*, others_wait: bool) -> Plan:
    spec = make_spec(workers={"nodes": 1, "gpusPerNode": 8, "elastic": {"minNodes": 1, "maxNodes": 4}})
    training = train(spec=spec, verdict=GRANTED)
    more = make_spec(workers={"nodes": 2, "gpusPerNode": 8, "elastic": {"minNodes": 1, "maxNodes": 4}})
    asked = replace(training, object=replace(training.object, spec=more), others_wait=others_wait)
    return plan(asked, now=NOW + 400)


def test_pods_are_drawn_to_the_nodes_on_which_the_queue_found_room() -> None:
    planned = plan(queue(replace(GRANTED, nodes=("gpu-1",))))

    [pod] = [manifest for manifest in planned.create if manifest["kind"] == "Pod"]
    [term] = pod["spec"]["affinity"]["nodeAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    assert term["preference"]["matchFields"][0] == {"key": "metadata.name", "operator": "In", "values": ["gpu-1"]}


def test_admitted_job_goes_on_when_a_new_operator_has_decided_nothing_yet() -> None:
    granted = queue(GRANTED)
    killed_before_the_pods = replace(granted, status=status_after(granted), verdict=None)

    assert "Pod" in kinds(plan(killed_before_the_pods))


def test_moving_up_in_the_queue_is_progress_only() -> None:
    waiting = queue(status=status_after(queue()))

    planned = plan(replace(waiting, verdict=replace(WAITING, position=2, message="2nd in the queue")))

    assert status_of(planned).message == "2nd in the queue"
    assert not planned.urgent


def test_nothing_is_written_by_a_new_operator_that_has_decided_nothing_yet() -> None:
    waiting = queue(status=status_after(queue()))

    assert plan(replace(waiting, verdict=None)).status is None


def test_job_without_gpus_need_not_wait() -> None:
    planned = plan(observe(verdict=None))

    assert "Pod" in kinds(planned)
    assert condition(status_of(planned), "Admitted") == ("True", "NotQueued")


def test_job_without_gpus_waits_when_the_budget_names_cores() -> None:
    settings = replace(SETTINGS, queue_budget="cpu=4")

    planned = plan_job(observe(), now=NOW, settings=settings)

    assert status_of(planned).phase is JobPhase.QUEUED


def test_job_of_before_there_was_a_queue_keeps_its_place() -> None:
    training = admit_and_train()
    conditions = [each for each in training.status.conditions if each.type != "Admitted"]

    before = replace(training, status=training.status.model_copy(update={"conditions": conditions}), verdict=None)

    assert status_after(before).phase is JobPhase.TRAINING


def test_preempted_job_checkpoints_waits_again_and_pays_no_restart() -> None:
    training = replace(admit_and_train(), verdict=TAKEN)

    planned = plan(training)

    status = status_of(planned)
    assert (status.phase, status.reason, status.attempt) == (JobPhase.QUEUED, "Preempted", 1)
    assert "preempted by job a/b of priority 5; step 80 is safe" in status.message
    assert condition(status, "Admitted") == ("False", "Preempted")
    assert [deletion.reference.name for deletion in planned.delete] == [pod.name for pod in training.pods]
    assert (status.restart_count, status.counted_restarts, status.failures) == (0, 0, [])


def test_who_gets_the_place_is_read_live_before_anybody_is_preempted() -> None:
    planned = plan_job(replace(admit_and_train(), verdict=TAKEN), now=NOW, settings=SETTINGS)

    assert planned.status is None
    assert Reference(kind="TrainingJob", namespace="a", name="b") in planned.confirm


def test_preempted_job_says_by_whom_while_it_waits_and_starts_its_next_attempt() -> None:
    training = replace(admit_and_train(), verdict=TAKEN)
    gone = replace(training, status=status_after(training), pods=(), verdict=WAITING)

    status = status_after(gone)
    assert (status.reason, status.message) == ("Preempted", "3rd in the queue; preempted by job a/b")

    planned = plan(replace(gone, status=status, verdict=GRANTED))
    [name] = [manifest["metadata"]["name"] for manifest in planned.create if manifest["kind"] == "Pod"]
    assert name == f"lenet-{JOB_UID[:8]}-1-0"


def test_preempted_job_starts_no_sooner_than_its_back_off_is_over() -> None:
    failure = FailureRecord(attempt=0, cause="Hung", message="rank 1 hung", time=after(-20))
    backing_off = {"phase": JobPhase.RESTARTING, "retry_after": after(60), "failures": [failure], "nodes": 0}
    preempted = replace(admit_and_train(status=backing_off), pods=(), report=None, verdict=TAKEN)
    granted = replace(preempted, status=status_after(preempted), verdict=GRANTED)

    waiting, ready = plan(granted), plan(granted, now=NOW + 60)

    status = status_of(waiting)
    assert (status.phase, status.reason) == (JobPhase.RESTARTING, "Hung")
    assert condition(status, "Admitted") == ("True", "Admitted")
    assert status.message == f"rank 1 hung. Attempt 1 starts at {after(60)}"
    assert (waiting.create, waiting.wake_at) == ((), NOW + 60)
    assert "Pod" in kinds(ready)


def test_pods_that_an_operator_died_before_deleting_are_deleted_while_the_job_waits() -> None:
    training = replace(admit_and_train(), verdict=TAKEN)

    planned = plan(replace(training, status=status_after(training), verdict=WAITING))

    assert len(planned.delete) == 1


def test_suspended_job_holds_nothing_and_waits_again_when_it_is_resumed() -> None:
    training = admit_and_train()
    suspended = replace(training, object=replace(training.object, spec={**GPUS, "runPolicy": {"suspend": True}}))

    status = status_after(suspended)
    assert condition(status, "Admitted") == ("False", "Suspending")

    resumed = replace(training, status=status, pods=(), verdict=None)
    assert status_after(resumed).phase is JobPhase.QUEUED


KUEUE = make_spec(nodes=2, run_policy={"queue": "team-a"})
HANDED_OVER = Verdict(stand=Stand.ADMITTED, reason="QueuedByKueue", message="Kueue decides, by its queue team-a")


def test_pods_are_handed_to_kueue_as_one_group_when_the_job_names_a_queue() -> None:
    planned = plan(observe(spec=KUEUE, verdict=HANDED_OVER))

    pods = [manifest["metadata"] for manifest in planned.create if manifest["kind"] == "Pod"]
    assert {pod["labels"]["kueue.x-k8s.io/queue-name"] for pod in pods} == {"team-a"}
    assert {pod["labels"]["kueue.x-k8s.io/pod-group-name"] for pod in pods} == {f"lenet-{JOB_UID[:8]}-0"}
    assert {pod["annotations"]["kueue.x-k8s.io/pod-group-total-count"] for pod in pods} == {"2"}


def test_job_waits_for_kueue_while_its_pods_are_gated() -> None:
    job = accept(spec=KUEUE, verdict=HANDED_OVER)
    gated = replace(job, pods=tuple(replace(pod, is_gated=True) for pod in job.pods))

    status = status_after(gated)
    assert (status.phase, status.reason) == (JobPhase.QUEUED, "QueuedByKueue")
    assert "until queue team-a has room" in status.message
    assert condition(status, "Admitted") == ("False", "QueuedByKueue")

    running = replace(gated, status=status, pods=tuple(run_pod(pod) for pod in job.pods))
    assert condition(status_after(running), "Admitted") == ("True", "QueuedByKueue")


def test_job_says_that_kueue_is_missing() -> None:
    missing = Verdict(stand=Stand.WAITING, reason="KueueMissing", message="Kueue is not installed here")

    planned = plan(observe(spec=KUEUE, verdict=missing))

    assert (status_of(planned).phase, status_of(planned).reason) == (JobPhase.QUEUED, "KueueMissing")
    assert kinds(planned) == []
