"""How far elastic jobs may grow in a budget."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from queueing.queue_states import GPU, decide, hold, make_capacity, make_job, make_node

from oarlock_operator.queueing.capacity import build_budget
from oarlock_operator.queueing.jobs import QueuedJob

BUDGET = build_budget({GPU: 16})


def grow(name: str = "a", *, settled: int = 1, wanted: int = 4, scouts: int = 0, **fields: Any) -> QueuedJob:
    """An elastic job that runs with pods of 4 GPUs, and would like to have more of them."""
    pods = settled + scouts
    return make_job(name, 4, pods=pods, settled=settled, wanted=wanted, is_admitted=True, least=1, **fields)


def most(*jobs: QueuedJob) -> dict[str, int | None]:
    return {name: verdict.most for name, verdict in decide(*jobs, capacity=BUDGET).items()}


def hold_in_budget(name: str, gpus: float) -> QueuedJob:
    return make_job(name, gpus, is_admitted=True)


@pytest.mark.parametrize(("taken", "allowed"), [(1, 3), (4, 3), (5, 2), (12, 1)])
def test_job_may_have_what_others_leave_of_the_budget(taken: float, allowed: int) -> None:
    assert most(grow(), hold_in_budget("other", taken)) == {"a": allowed, "other": None}


def test_job_may_have_no_more_than_it_wants() -> None:
    assert most(grow(wanted=2))["a"] == 2
    assert most(grow(settled=3, wanted=2))["a"] == 3, "to shrink is not for the queue to say"


def test_room_is_promised_once_and_to_the_older_job() -> None:
    assert most(grow("young", age=1), grow("old", age=9)) == {"old": 3, "young": 1}


def test_pods_that_look_for_room_keep_it() -> None:
    assert most(grow("young", age=1), grow("old", age=9, scouts=2)) == {"old": 3, "young": 1}


def test_pods_that_look_for_room_lose_it_to_a_job_that_was_let_in_meanwhile() -> None:
    assert most(grow(scouts=3), hold_in_budget("other", 8))["a"] == 2


def test_nobody_grows_into_what_somebody_waits_for() -> None:
    waiting = make_job("waiting", 14)

    assert most(grow(), waiting)["a"] == 1


def test_nodes_are_asked_by_scouts_and_not_by_the_queue() -> None:
    job = hold("a", 4, "n1", settled=1, wanted=4)

    assert decide(job, capacity=make_capacity(make_node("n1", 16)))["a"].most is None


sizes = st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(0, 2), st.integers(0, 9))


@given(st.lists(sizes, max_size=5), st.lists(st.integers(1, 16), max_size=3))
@settings(max_examples=60, deadline=None)
def test_what_is_promised_in_all_never_exceeds_the_budget(
    jobs: list[tuple[int, int, int, int]], others: list[int]
) -> None:
    growing = [
        grow(f"job{i}", settled=settled, wanted=wanted, scouts=scouts, age=age)
        for i, (settled, wanted, scouts, age) in enumerate(jobs)
    ]
    waiting = [make_job(f"waiting{i}", gpus) for i, gpus in enumerate(others)]

    allowed = most(*growing, *waiting)

    for job in growing:
        assert job.settled <= (allowed[job.uid] or 0) <= max(job.settled, job.wanted)
    if any((allowed[job.uid] or 0) > job.settled for job in growing):
        assert sum(4 * (allowed[job.uid] or 0) for job in growing) <= 16
