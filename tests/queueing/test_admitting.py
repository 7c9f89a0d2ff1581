"""Who may start, case by case."""

import pytest
from queueing.queue_states import GPU, NOW, decide, hold, make_capacity, make_job, make_node, occupy, stands

from oarlock_operator.queueing.capacity import build_budget, parse_budget
from oarlock_operator.queueing.order import PATIENCE_SECONDS
from oarlock_operator.queueing.placement import Placement
from oarlock_operator.reconcile.observed import ObservedNode

TWO = make_capacity(make_node("n1"), make_node("n2"))


def test_first_job_gets_in_and_the_second_waits_for_its_place() -> None:
    verdicts = decide(make_job("a", age=2), make_job("b", age=1))

    assert stands(verdicts) == {"a": "in", "b": "waits"}
    assert verdicts["b"].position == 1
    assert verdicts["b"].message == "1st in the queue; needs 8 nvidia.com/gpu, none free on 1 node"


def test_all_pods_get_in_or_none() -> None:
    verdicts = decide(make_job("two", pods=2), capacity=make_capacity(make_node("n1"), make_node("n2", gpus=4)))

    assert stands(verdicts) == {"two": "waits"}


def test_elastic_job_gets_in_with_what_there_is_room_for_but_no_fewer_than_its_least() -> None:
    capacity = make_capacity(make_node("n1"), make_node("n2"))
    elastic = make_job("elastic", pods=4, least=2)

    assert decide(elastic, capacity=capacity)["elastic"].nodes == ("n1", "n2")
    assert stands(decide(hold("x", 8, "n1"), elastic, capacity=capacity))["elastic"] == "waits"


def test_one_pod_needs_one_node_with_all_its_gpus() -> None:
    nodes = [make_node(f"n{number}", gpus=1) for number in range(8)]

    verdicts = decide(make_job(gpus=8), capacity=make_capacity(*nodes))

    assert verdicts["job"].reason == "NoSuchNodes"
    assert "of 8 nodes: 8 with too little nvidia.com/gpu" in verdicts["job"].message


def test_job_is_told_what_is_free_and_where() -> None:
    nodes = [make_node(f"n{number}") for number in range(4)]
    running = [hold("x", 8, "n0", "n1"), hold("y", 4, "n2", "n3", ends=NOW + 600)]

    verdict = decide(make_job("a", pods=2), *running, capacity=make_capacity(*nodes))["a"]

    assert verdict.expected_start == NOW + 600
    assert verdict.message == (
        "1st in the queue; needs 16 nvidia.com/gpu (8 for each of 2 pods), 8 free on 2 of 4 nodes;"
        " expected start about 08:10 UTC"
    )


def test_higher_priority_goes_first_when_it_came_later() -> None:
    verdicts = decide(make_job("old", age=100), make_job("urgent", priority=5))

    assert stands(verdicts) == {"old": "waits", "urgent": "in"}


def test_namespace_that_has_less_goes_first() -> None:
    jobs = [make_job("a1", age=9), make_job("a2", age=8), make_job("b1", namespace="other", age=1)]

    verdicts = decide(*jobs, capacity=TWO)

    assert stands(verdicts) == {"a1": "in", "a2": "waits", "b1": "in"}


def test_age_counts_more_than_fair_share_after_a_long_wait() -> None:
    rich = hold("rich", 8, "n1")
    old, young = make_job("old", age=PATIENCE_SECONDS), make_job("young", namespace="other")

    assert stands(decide(rich, old, young, capacity=TWO)) == {"old": "in", "rich": "in", "young": "waits"}


def test_small_job_does_not_take_what_the_head_waits_for() -> None:
    running = hold("x", 8, "n1", ends=NOW + 600)

    verdicts = decide(running, make_job("big", pods=2, age=5), make_job("small", 1), capacity=TWO)

    assert stands(verdicts) == {"big": "waits", "small": "waits", "x": "in"}
    assert verdicts["big"].expected_start == NOW + 600
    assert "8 free on 1 of 2 nodes, kept for jobs before it" in verdicts["small"].message


def test_small_job_goes_ahead_on_a_node_that_the_head_will_not_need() -> None:
    capacity = make_capacity(make_node("n1"), make_node("n2"), make_node("n3"))
    running = [hold("x", 8, "n1", ends=NOW + 60), hold("y", 4, "n3", ends=NOW + 9000)]

    verdicts = decide(*running, make_job("big", pods=2, age=5), make_job("small", 4), capacity=capacity)

    assert (stands(verdicts)["small"], stands(verdicts)["big"]) == ("in", "waits")
    assert verdicts["big"].expected_start == NOW + 60


def test_nobody_goes_ahead_on_the_heads_nodes_when_nobody_knows_when_they_are_free() -> None:
    verdicts = decide(hold("x", 8, "n1"), make_job("big", pods=2, age=5), make_job("small", 1), capacity=TWO)

    assert stands(verdicts)["small"] == "waits"
    assert verdicts["big"].expected_start is None


def test_job_that_can_never_fit_holds_up_nobody() -> None:
    verdicts = decide(make_job("huge", gpus=16, age=9), make_job("small", 1))

    assert stands(verdicts) == {"huge": "waits", "small": "in"}


def test_first_job_of_every_kind_of_node_keeps_a_reservation() -> None:
    capacity = make_capacity(make_node("n1"), make_node("m1", gpus=2, labels={"kind": "m"}))
    kind_m = Placement(selector=(("kind", "m"),))
    running = [hold("x", 1, "n1"), hold("y", 1, "m1")]

    waiting = [make_job("big", 8, age=9), make_job("m", 2, age=5, placement=kind_m)]
    verdicts = decide(*running, *waiting, make_job("tiny", 1, placement=kind_m), capacity=capacity)

    assert stands(verdicts) == {"big": "waits", "m": "waits", "tiny": "waits", "x": "in", "y": "in"}


@pytest.mark.parametrize(
    ("node", "reason"),
    [
        (make_node(is_ready=False), "1 not ready"),
        (make_node(is_cordoned=True), "1 cordoned"),
        (make_node(gpus=4), "1 with too little nvidia.com/gpu"),
    ],
    ids=["not-ready", "cordoned", "small"],
)
def test_job_is_told_why_no_node_fits(node: ObservedNode, reason: str) -> None:
    verdict = decide(make_job(), capacity=make_capacity(node))["job"]

    assert verdict.reason == "NoSuchNodes"
    assert reason in verdict.message


def test_foreign_pods_are_respected() -> None:
    verdicts = decide(
        make_job("a", 8), make_job("b", 4), capacity=make_capacity(make_node(), occupied=(occupy("n1", 4),))
    )

    assert stands(verdicts)["a"] == "waits"
    assert "4 free on 1 node" in verdicts["a"].message


def test_place_that_is_being_freed_is_kept_for_who_is_next() -> None:
    leaving = make_capacity(make_node(), occupied=(occupy("n1", 8, until=NOW + 30),))

    verdicts = decide(make_job("a", age=2), make_job("b", 1), capacity=leaving)

    assert (verdicts["a"].reason, verdicts["a"].expected_start) == ("PlaceBeingFreed", NOW + 30)
    assert stands(verdicts)["b"] == "waits"


def test_admitted_job_keeps_its_place_before_it_has_pods() -> None:
    granted = make_job("granted", is_admitted=True)

    assert stands(decide(granted, make_job("b", age=99))) == {"b": "waits", "granted": "in"}


def test_budget_is_one_number() -> None:
    budget = build_budget(parse_budget("nvidia.com/gpu=16, cpu=64"))

    verdicts = decide(make_job("a", 3, pods=5, age=2), make_job("b", 2), make_job("c", 99), capacity=budget)

    assert stands(verdicts) == {"a": "in", "b": "waits", "c": "waits"}
    assert "1 of 16 free in the budget" in verdicts["b"].message
    assert "needs 99 nvidia.com/gpu, and the whole budget is 16 nvidia.com/gpu" in verdicts["c"].message


def test_every_resource_counts_when_a_job_needs_several() -> None:
    budget = build_budget(parse_budget("nvidia.com/gpu=16,cpu=8"))
    needs = ((GPU, 1.0), ("cpu", 4.0))

    verdicts = decide(make_job("a", pods=2, needs=needs, age=1), make_job("b", needs=needs), capacity=budget)

    assert stands(verdicts) == {"a": "in", "b": "waits"}


@pytest.mark.parametrize("text", ["cpu=8,cpu=16", "cpu=8, gpu=1,cpu=8"])
def test_budget_that_names_a_resource_twice_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="cpu twice"):
        parse_budget(text)


@pytest.mark.parametrize(("other_node", "avoids_too_much"), [(8, False), (4, True)])
def test_job_is_told_whether_it_fits_nowhere_because_of_the_nodes_that_it_avoids(
    other_node: float,
    avoids_too_much: bool,  # noqa: FBT001
) -> None:
    avoiding = make_job("a", placement=Placement(avoided=("n1",)))
    taken = hold("x", 1, "n2")

    verdict = decide(avoiding, taken, capacity=make_capacity(make_node("n1"), make_node("n2", gpus=other_node)))["a"]

    assert verdict.avoids_too_much == avoids_too_much


def test_job_for_which_all_nodes_are_too_small_does_not_avoid_too_much() -> None:
    avoiding = make_job("a", placement=Placement(avoided=("n1",)))

    assert not decide(avoiding, capacity=make_capacity(make_node("n1", gpus=4)))["a"].avoids_too_much
