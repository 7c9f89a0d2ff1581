"""Machines that vanish with their pods, and clocks that jump: no job waits for them for ever, whatever it was doing."""

from dataclasses import replace

import pytest
from reconciling.job_states import NOW, SETTINGS, make_spec, names_of, plan, status_of, train

from oarlock_api.v1alpha1.status import JobPhase
from oarlock_operator.policy.abandoned import OVERDUE_SECONDS, is_abandoned, overdue_at
from oarlock_operator.policy.backoff import MAX_DELAY_SECONDS, is_waiting
from oarlock_operator.policy.failures import SETTLE_SECONDS, find_culprit
from oarlock_operator.reconcile.observed import ObservedJob, ObservedPod
from oarlock_operator.reconcile.training_job import plan_job

NOBODY: frozenset[str] = frozenset()


def running_pod(rank: int = 0) -> ObservedPod:
    return train(spec=make_spec(nodes=2)).pods[rank]


def ask_to_suspend(job: ObservedJob, *, suspend: bool = True) -> ObservedJob:
    return replace(job, object=replace(job.object, spec={**job.object.spec, "runPolicy": {"suspend": suspend}}))


def suspending_with_zombie(*, lost: bool = True, ended: float = NOW + 120) -> ObservedJob:
    """A suspended job of two nodes one of whose pods nobody ends."""
    job = ask_to_suspend(train(spec=make_spec(nodes=2)))
    status = status_of(plan(job))
    zombie = replace(job.pods[1], deleting=True, delete_by=ended)
    lost_nodes = frozenset({zombie.node}) if lost else NOBODY
    return replace(job, status=status, pods=(zombie,), report=None, lost_nodes=lost_nodes)


def test_job_is_suspended_when_the_last_pod_hangs_on_a_lost_machine() -> None:
    job = suspending_with_zombie()

    status = status_of(plan(job))

    assert (status.phase, status.reason) == (JobPhase.SUSPENDED, "Suspended")
    assert f"{job.pods[0].name} on {job.pods[0].node}" in status.message


def test_job_waits_for_a_pod_that_may_still_save_when_its_machine_lives() -> None:
    job = suspending_with_zombie(lost=False)

    planned = plan(job)

    assert status_of(planned).reason == "Suspending"
    assert planned.wake_at == NOW + 120 + OVERDUE_SECONDS


def test_job_is_suspended_when_a_pod_is_long_overdue_and_nodes_may_not_be_read() -> None:
    job = suspending_with_zombie(lost=False)

    planned = plan_job(replace(job, confirmed=True), now=NOW + 120 + OVERDUE_SECONDS, settings=SETTINGS)

    assert status_of(planned).reason == "Suspended"


@pytest.mark.parametrize(("lost", "later"), [(True, 0.0), (False, 120 + OVERDUE_SECONDS)])
def test_job_resumes_beside_a_zombie_when_nobody_ends_it(lost: bool, later: float) -> None:  # noqa: FBT001
    job = suspending_with_zombie(lost=lost)
    rested = status_of(plan_job(replace(job, confirmed=True), now=NOW + later, settings=SETTINGS))
    resumed = ask_to_suspend(replace(job, status=rested, confirmed=True), suspend=False)

    planned = plan_job(resumed, now=NOW + later, settings=SETTINGS)

    created = [name for name in names_of(planned.create) if "-1-" in name]
    assert len(created) == 2
    assert not planned.delete


@pytest.mark.parametrize("deleting", [False, True])
def test_training_goes_on_as_if_nothing_were_when_a_node_comes_back_with_an_old_pod(deleting: bool) -> None:  # noqa: FBT001
    job = train()
    [old] = job.pods
    status = job.status.model_copy(update={"attempt": 1})
    fresh = replace(old, uid="fresh", attempt=1, name=old.name.replace("-0-0", "-1-0"))
    zombie = replace(old, deleting=deleting, delete_by=NOW + 120 if deleting else None)

    planned = plan(replace(job, status=status, pods=(fresh, zombie)))

    assert [deletion.uid for deletion in planned.delete] == ([] if deleting else [zombie.uid])
    assert planned.status is None or status_of(planned).phase is job.status.phase


def test_no_pod_is_asked_to_go_twice_or_by_force_when_it_hangs() -> None:
    job = suspending_with_zombie()

    assert plan(job).delete == ()


@pytest.mark.parametrize(
    ("deleting", "delete_by", "lost", "now", "abandoned"),
    [
        (True, NOW, False, NOW + OVERDUE_SECONDS - 1, False),
        (True, NOW, False, NOW + OVERDUE_SECONDS, True),
        (True, None, False, NOW + 10**6, False),
        (False, None, False, NOW, False),
        (False, None, True, NOW, True),
        (True, NOW + 120, True, NOW, True),
        (True, NOW, False, NOW - 7200, False),
    ],
)
def test_pod_is_abandoned_when_its_machine_is_lost_or_does_not_end_it(
    deleting: bool,  # noqa: FBT001
    delete_by: float | None,
    lost: bool,  # noqa: FBT001
    now: float,
    abandoned: bool,  # noqa: FBT001
) -> None:
    pod = replace(running_pod(), deleting=deleting, delete_by=delete_by)
    lost_nodes = frozenset({pod.node}) if lost else NOBODY

    assert is_abandoned(pod, lost_nodes=lost_nodes, now=now) is abandoned
    assert overdue_at([pod], now=now) != now


@pytest.mark.parametrize(
    ("retry_in", "waits"),
    [(None, False), (-1, False), (0, False), (1, True), (MAX_DELAY_SECONDS, True), (MAX_DELAY_SECONDS + 1, False)],
)
def test_back_off_never_lasts_longer_than_the_longest_one(retry_in: float | None, waits: bool) -> None:  # noqa: FBT001
    retry_at = None if retry_in is None else NOW + retry_in

    assert is_waiting(retry_at, now=NOW) is waits


@pytest.mark.parametrize("ahead", [0.0, 3600.0, 10**8])
def test_culprit_is_settled_soon_when_the_clock_of_its_node_is_ahead(ahead: float) -> None:
    failed = replace(running_pod(), phase="Failed", exit_code=75, finished=NOW + ahead)

    culprit = find_culprit((failed, running_pod(1)), {}, attempt=0, lost_nodes=NOBODY, now=NOW)

    assert culprit
    assert culprit.settled_at <= NOW + 2 * SETTLE_SECONDS


@pytest.mark.parametrize("jump", [-1e9, -86_400.0, -3600.0, 3600.0])
def test_nothing_is_deleted_or_counted_when_the_clock_jumps_while_a_job_trains(jump: float) -> None:
    job = train(spec=make_spec(nodes=2))

    planned = plan_job(replace(job, confirmed=True), now=NOW + jump, settings=SETTINGS)

    assert not planned.delete
    assert not [manifest for manifest in planned.create if manifest["kind"] == "Pod"]
    assert planned.status is None or status_of(planned).attempt == 0
