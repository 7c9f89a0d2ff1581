"""Learning-rate schedules: DIGITS' formulae and defaults, cosine, one-cycle, warm-up."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oarlock_api.schedules import SCHEDULES, build_schedule, resolve_schedule
from oarlock_api.v1alpha1.recipe import Schedule, ScheduleName

FALLING = ("step", "multistep", "exponential")


def schedule(name: str, **parameters: object) -> Schedule:
    return Schedule.from_wire({"name": name, "warmupFraction": 0.0, **parameters})


@given(
    name=st.sampled_from(ScheduleName),
    parameters=st.fixed_dictionaries(
        {},
        optional={
            "gamma": st.floats(1e-6, 10),
            "power": st.floats(1e-6, 100),
            "stepPercent": st.floats(1e-6, 100),
            "stepPercents": st.lists(st.floats(0, 100), min_size=1, max_size=64),
            "finalFraction": st.floats(0, 1),
        },
    ),
    warmup=st.floats(0, 0.99),
    steps=st.integers(1, 400),
)
def test_a_factor_is_a_finite_share_that_rises_while_it_warms_up(
    name: ScheduleName, parameters: dict[str, float], warmup: float, steps: int
) -> None:
    own = {key: value for key, value in parameters.items() if key in SCHEDULES[name]}
    own |= {"gamma": min(1.0, own["gamma"])} if "gamma" in own and name in FALLING else {}
    factor = build_schedule(schedule(name, **{**own, "warmupFraction": warmup}), steps=steps)

    factors = [factor(step) for step in range(steps)]
    rising = factors[: int(warmup * steps)]

    assert all(math.isfinite(value) and 0 <= value <= 1 for value in factors)
    assert all(earlier <= later for earlier, later in itertools.pairwise(rising))
    assert [factor(step) for step in reversed(range(steps))] == factors[::-1]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("fixed", {0: 1.0, 50: 1.0, 99: 1.0}),
        ("step", {0: 1.0, 32: 1.0, 33: 0.1, 65: 0.1, 66: 0.01, 98: 0.01, 99: 0.001}),
        ("multistep", {49: 1.0, 50: 0.5, 84: 0.5, 85: 0.25, 99: 0.25}),
        ("exponential", {0: 1.0, 1: 0.95, 50: 0.0769449753, 99: 0.0062321371}),
        ("inverse", {0: 1.0, 30: 0.5, 80: 1 / 3, 99: 0.3028912709}),
        ("polynomial", {0: 1.0, 50: 0.125, 90: 0.001, 99: 1e-6}),
        ("sigmoid", {0: 0.9933071491, 50: 0.5, 99: 0.0073915413}),
    ],
)
def test_a_schedule_of_digits_has_its_values_when_nothing_is_said(name: str, expected: dict[int, float]) -> None:
    """Over 100 steps, so that a step is a percent; worked out by hand from Caffe's formulae with DIGITS' scaling."""
    factor = build_schedule(schedule(name), steps=100)

    assert {step: factor(step) for step in expected} == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("name", ["step", "multistep", "exponential", "inverse", "polynomial", "sigmoid"])
def test_percentages_are_of_the_run_whatever_its_length(name: str) -> None:
    short, long = build_schedule(schedule(name), steps=100), build_schedule(schedule(name), steps=1000)

    assert [short(step) for step in range(100)] == pytest.approx([long(10 * step) for step in range(100)])


def test_cosine_falls_from_the_highest_rate_to_the_final_fraction() -> None:
    factor = build_schedule(Schedule(warmup_fraction=0.1, final_fraction=0.2), steps=100)

    assert factor(10) == 1.0
    assert factor(55) == pytest.approx(0.6)
    assert factor(99) == pytest.approx(0.2 + 0.8 * 0.5 * (1 + math.cos(math.pi * 89 / 90)))


def test_one_cycle_rises_from_a_25th_and_falls_to_almost_nothing() -> None:
    """The ends of torch's OneCycleLR with `pct_start=0.3`: 1/25, 1 at step 29, 1/25/10000 at the last step."""
    factor = build_schedule(Schedule.from_wire({"name": "oneCycle"}), steps=100)

    assert (factor(0), factor(29), factor(99)) == pytest.approx((0.04, 1.0, 4e-6))
    assert factor(64) == pytest.approx((1 + 4e-6) / 2)
    assert factor(10) == pytest.approx(0.04 + 0.96 * 0.5 * (1 - math.cos(math.pi * 10 / 29)))


def test_what_a_schedule_lacks_stays_absent_when_it_is_resolved() -> None:
    polynomial = resolve_schedule(Schedule.from_wire({"name": "polynomial"})).to_wire()

    assert polynomial == {"name": "polynomial", "warmupFraction": 0.05, "power": 3.0}
