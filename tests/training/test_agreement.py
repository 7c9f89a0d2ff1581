"""The exchange among real gloo ranks."""

import pytest
from training.agreement_scenarios import follow_steps, make_row
from training.forked_ranks import run_ranks

STEPS = 50


@pytest.fixture(scope="module")
def answers() -> dict[int, list[dict[str, object]]]:
    """What three ranks saw, by the interval between exchanges."""
    return {interval: run_ranks(3, follow_steps, STEPS, interval, 20, 30) for interval in (1, 7)}


def test_all_ranks_see_the_same_at_the_same_steps(answers: dict[int, list[dict[str, object]]]) -> None:
    for by_rank in answers.values():
        assert by_rank[0] == by_rank[1] == by_rank[2]


def test_every_step_is_reported_once_and_in_order(answers: dict[int, list[dict[str, object]]]) -> None:
    for by_rank in answers.values():
        assert by_rank[0]["steps"] == list(range(1, STEPS + 1))


def test_figures_are_bitwise_the_same_when_the_interval_differs(answers: dict[int, list[dict[str, object]]]) -> None:
    rows = [[make_row(rank, step).double().tolist() for rank in range(3)] for step in range(1, STEPS + 1)]
    expected = [[(sum(column) / 3.0).hex() for column in zip(*by_rank, strict=True)] for by_rank in rows]

    assert answers[1][0]["means"] == answers[7][0]["means"] == expected


def test_one_rank_that_is_to_stop_stops_all_at_a_later_step(answers: dict[int, list[dict[str, object]]]) -> None:
    assert answers[1][0]["stops"][0] == 21  # type: ignore[index]
    assert 20 < answers[7][0]["stops"][0] <= 34  # type: ignore[index]


def test_only_the_clock_of_rank_0_decides_about_saves(answers: dict[int, list[dict[str, object]]]) -> None:
    assert answers[1][0]["saves"][0] == 31  # type: ignore[index]
    assert answers[1][0]["slowest"] == {2.0}


def test_a_step_is_divided_as_by_the_rank_that_waits_longest(answers: dict[int, list[dict[str, object]]]) -> None:
    assert answers[7][0]["times"] == {(0.5, (0.1, 0.1, 0.1, 0.1))}
