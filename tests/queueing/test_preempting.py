"""Who gives its place to a job of a higher priority."""

from queueing.queue_states import NOW, decide, hold, make_capacity, make_job, make_node, stands

TWO = make_capacity(make_node("n1"), make_node("n2"))


def test_lower_job_is_preempted_and_named_when_that_lets_the_higher_one_in() -> None:
    verdicts = decide(hold("low", 8, "n1"), make_job("high", priority=5))

    assert stands(verdicts) == {"high": "waits", "low": "out"}
    assert verdicts["low"].message == "preempted by job team/high of priority 5"
    assert verdicts["high"].reason == "PlaceBeingFreed"


def test_nobody_is_preempted_in_vain() -> None:
    equal = hold("equal", 4, "n1", priority=5)

    verdicts = decide(hold("low", 4, "n1"), equal, make_job("high", 8, priority=5))

    assert stands(verdicts) == {"equal": "in", "high": "waits", "low": "in"}


def test_lowest_then_youngest_is_preempted_when_one_is_enough() -> None:
    running = [hold("old", 8, "n1", age=9), hold("young", 8, "n2", age=1)]
    assert stands(decide(*running, make_job("high", priority=5), capacity=TWO))["young"] == "out"

    running = [hold("old", 8, "n1", age=9), hold("young", 8, "n2", age=1, priority=1)]
    assert stands(decide(*running, make_job("high", priority=5), capacity=TWO))["old"] == "out"


def test_one_larger_victim_is_taken_rather_than_several_small_ones() -> None:
    small = [hold(f"small{number}", 2, "n1") for number in range(4)]

    verdicts = decide(*small, hold("large", 8, "n2", priority=1), make_job("high", priority=5), capacity=TWO)

    assert [name for name, stand in stands(verdicts).items() if stand == "out"] == ["large"]


def test_no_more_are_preempted_than_needed() -> None:
    running = [hold("a", 2, "n1", priority=1), hold("b", 6, "n1", priority=2), hold("c", 2, "n2")]

    verdicts = decide(
        *running, make_job("high", priority=5), capacity=make_capacity(make_node("n1"), make_node("n2", 2))
    )

    assert stands(verdicts) == {"a": "out", "b": "out", "c": "in", "high": "waits"}


def test_two_high_jobs_preempt_two_low_ones_at_once() -> None:
    running = [hold("low1", 8, "n1"), hold("low2", 8, "n2")]
    waiting = [make_job("high1", priority=5, age=1), make_job("high2", priority=5)]

    verdicts = decide(*running, *waiting, capacity=TWO)

    assert stands(verdicts) == {"high1": "waits", "high2": "waits", "low1": "out", "low2": "out"}


def test_place_that_another_queue_has_given_is_not_ours_to_take() -> None:
    verdicts = decide(hold("kueues", 8, "n1", may_be_preempted=False), make_job("high", priority=5))

    assert stands(verdicts) == {"high": "waits", "kueues": "in"}


def test_preempted_job_gets_in_again_before_a_younger_one() -> None:
    low = make_job("low", age=500, since=NOW)

    assert stands(decide(low, make_job("other", age=5))) == {"low": "in", "other": "waits"}


def test_nobody_is_preempted_for_a_place_that_is_reserved_for_a_job_before() -> None:
    running = [hold("low", 1, "n1", ends=NOW + 50), hold("equal", 1, "n1", priority=1, ends=NOW + 50)]
    waiting = [make_job("first", 4, pods=3, priority=1, age=9), make_job("second", 1, priority=1)]

    verdicts = decide(*running, *waiting, capacity=make_capacity(make_node("n1", 4), make_node("n2", 8)))

    assert stands(verdicts) == {"equal": "in", "first": "waits", "low": "in", "second": "waits"}
