"""Elastic jobs whose number of nodes the queue has a say in: they get no more than it gives, whenever they ask."""

from dataclasses import replace
from typing import Any

import pytest
from reconciling.job_states import NOW, SETTINGS, kinds, make_pod, make_spec, observe, run_pod, train

from oarlock_api.v1alpha1.status import JobPhase, TrainingJobStatus
from oarlock_operator.queueing.verdicts import QUEUE_OFF, Stand, Verdict
from oarlock_operator.reconcile.observed import ObservedJob
from oarlock_operator.reconcile.plans import Plan
from oarlock_operator.reconcile.training_job import plan_job

LATER = NOW + SETTINGS.elastic_growth_seconds + 1
GRANTED = Verdict(stand=Stand.ADMITTED, reason="Admitted", message="has 4 nvidia.com/gpu", nodes=("n1",))
WAITING = Verdict(stand=Stand.WAITING, reason="WaitingForCapacity", message="1st in the queue", position=1)
BUDGET = "nvidia.com/gpu=16"


def spec_for(nodes: int, *, gpus: int = 4) -> dict[str, Any]:
    return make_spec(workers={"nodes": nodes, "gpusPerNode": gpus, "elastic": {"minNodes": 1, "maxNodes": 4}})


def scale(job: ObservedJob, nodes: int, *, gpus: int = 4, **fields: Any) -> ObservedJob:
    return replace(job, object=replace(job.object, spec=spec_for(nodes, gpus=gpus)), **fields)


def train_small(*, wanted: int = 4, gpus: int = 4, **fields: Any) -> ObservedJob:
    """A job that trains on one node, and of which more are wanted."""
    return scale(train(spec=spec_for(1, gpus=gpus), verdict=GRANTED), wanted, gpus=gpus, **fields)


def plan(job: ObservedJob, *, budget: str = BUDGET, now: float = LATER) -> Plan:
    return plan_job(replace(job, confirmed=True), now=now, settings=replace(SETTINGS, queue_budget=budget))


def status_of(planned: Plan) -> TrainingJobStatus:
    assert isinstance(planned.status, TrainingJobStatus)
    return planned.status


def allow(most: int) -> Verdict:
    return replace(GRANTED, most=most)


def send_scouts(job: ObservedJob, count: int, *, placed: bool = True) -> ObservedJob:
    scouts = [make_pod(rank, status=job.status) for rank in range(1, count + 1)]
    found = [run_pod(scout, scheduled_at=LATER - 1) for scout in scouts] if placed else scouts
    return replace(job, pods=(*job.pods, *found))


@pytest.mark.parametrize(("most", "scouts"), [(1, 0), (2, 1), (3, 2), (4, 3)])
def test_no_more_scouts_are_sent_than_the_budget_has_room_for(most: int, scouts: int) -> None:
    planned = plan(train_small(verdict=allow(most)))

    assert kinds(planned).count("Pod") == scouts
    assert ("the budget of the queue has no room for more" in status_of(planned).message) == (scouts == 0)


def test_scouts_are_sent_for_all_nodes_that_are_wanted_where_no_budget_counts_them() -> None:
    assert kinds(plan(train_small(verdict=GRANTED), budget="")).count("Pod") == 3
    assert kinds(plan(train_small(gpus=0, verdict=None))).count("Pod") == 3
    assert kinds(plan(train_small(verdict=replace(GRANTED, reason=QUEUE_OFF)))).count("Pod") == 3


def test_scouts_go_when_the_budget_has_room_no_more() -> None:
    planned = plan(send_scouts(train_small(verdict=allow(2)), 3, placed=False))

    assert [deletion.reference.name[-1] for deletion in planned.delete] == ["2", "3"]


def test_job_does_not_grow_by_scouts_for_which_the_budget_has_no_room() -> None:
    allowed, forbidden = (plan(send_scouts(train_small(verdict=allow(most)), 1)) for most in (2, 1))

    assert status_of(allowed).gang
    assert status_of(forbidden).gang is None
    assert [deletion.reference.name[-1] for deletion in forbidden.delete] == ["1"]


def test_new_operator_that_has_decided_nothing_yet_sends_no_scouts_and_calls_none_back() -> None:
    job = train_small(verdict=None)

    assert kinds(plan(job)) == []
    assert plan(send_scouts(job, 1)).delete == ()


def back_off(verdict: Verdict | None) -> ObservedJob:
    """A job between two attempts that was scaled up meanwhile."""
    trained = train(spec=spec_for(1), verdict=GRANTED)
    status = trained.status.model_copy(update={"phase": JobPhase.RESTARTING, "attempt": 1, "nodes": 0})
    return scale(replace(trained, status=status, pods=(), report=None), 3, verdict=verdict)


@pytest.mark.parametrize("budget", ["", BUDGET])
@pytest.mark.parametrize("verdict", [GRANTED, None], ids=["granted", "undecided"])
def test_job_that_is_scaled_up_between_two_attempts_keeps_to_the_place_that_it_has(
    verdict: Verdict | None, budget: str
) -> None:
    planned = plan(back_off(verdict), budget=budget)

    assert kinds(planned).count("Pod") == 1
    assert status_of(planned).gang is None


def test_job_that_is_scaled_up_between_two_attempts_gets_it_all_where_there_is_no_queue() -> None:
    gang = status_of(plan(back_off(replace(GRANTED, reason=QUEUE_OFF)))).gang

    assert gang
    assert (gang.nodes, gang.wanted) == (3, 3)


@pytest.mark.parametrize("nodes", [1, 4])
@pytest.mark.parametrize("verdict", [WAITING, None], ids=["waiting", "undecided"])
def test_queue_is_asked_for_the_new_number_when_a_waiting_job_is_scaled(nodes: int, verdict: Verdict | None) -> None:
    waiting = observe(spec=spec_for(2), verdict=WAITING)
    queued = replace(waiting, status=status_of(plan(waiting)))

    status = status_of(plan(scale(queued, nodes, verdict=verdict)))

    assert status.phase is JobPhase.QUEUED
    assert status.gang
    assert (status.gang.nodes, status.gang.wanted, status.attempt) == (nodes, nodes, 0)
    assert status.gang.why == f"spec.workers.nodes is {nodes} now"
    granted = scale(queued, nodes, status=status, verdict=replace(GRANTED, nodes=("n1",) * nodes))
    assert kinds(plan(granted)).count("Pod") == nodes
