"""Times, conditions, phases, deadlines and waits."""

from dataclasses import replace

import hypothesis.strategies as st
import pytest
from hypothesis import given
from reconciling.job_states import NOW, accept, run_pod

from oarlock_api.v1alpha1.status import Condition, ConditionStatus, JobPhase
from oarlock_operator.policy.conditions import Aspect, update_conditions
from oarlock_operator.policy.deadlines import compute_startup_clock
from oarlock_operator.policy.failures import classify
from oarlock_operator.policy.phases import add_phase_seconds, count_active_seconds
from oarlock_operator.policy.restarts import BUDGETS
from oarlock_operator.policy.times import format_time, parse_time
from oarlock_operator.reconcile.observed import ObservedPod

EARLIER = "2026-01-01T00:00:00.000Z"


@given(seconds=st.floats(0, 253_402_300_000))  # to the year 9999, where a float is not exact to the last microsecond
def test_times_read_back_to_the_millisecond(seconds: float) -> None:
    assert parse_time(format_time(seconds)) == pytest.approx(seconds, abs=1.1e-3)


@pytest.mark.parametrize("text", [None, "", "yesterday", "2026-13-01T00:00:00Z"])
def test_a_time_that_cannot_be_read_is_none(text: str | None) -> None:
    assert parse_time(text) is None


@pytest.mark.parametrize(("holds", "time"), [(True, EARLIER), (False, format_time(NOW))], ids=["same", "changed"])
def test_the_transition_time_stays_while_the_status_does(holds: bool, time: str) -> None:  # noqa: FBT001
    before = Condition(type="Valid", status=ConditionStatus.TRUE, reason="Old", last_transition_time=EARLIER)

    (after,) = update_conditions([before], [Aspect(type="Valid", holds=holds, reason="New")], generation=4, now=NOW)

    assert (after.last_transition_time, after.reason, after.observed_generation) == (time, "New", 4)


def test_seconds_add_up_over_the_phases_of_a_life() -> None:
    phases = add_phase_seconds({}, phase=JobPhase.STARTING, since=format_time(NOW - 10), now=NOW)
    phases = add_phase_seconds(phases, phase=JobPhase.SUSPENDED, since=format_time(NOW), now=NOW + 90)
    phases = add_phase_seconds(phases, phase=JobPhase.STARTING, since=format_time(NOW + 90), now=NOW + 95)

    active = count_active_seconds(phases, phase=JobPhase.TRAINING, since=format_time(NOW + 95), now=NOW + 100)

    assert phases == {"Starting": 15.0, "Suspended": 90.0}
    assert active == 20.0


def test_a_clock_that_goes_back_takes_no_seconds_away() -> None:
    since = format_time(NOW + 50)

    assert add_phase_seconds({}, phase=JobPhase.TRAINING, since=since, now=NOW) == {"Training": 0.0}


@pytest.mark.parametrize(
    ("placed_at", "due"),
    [((), None), ((100.0,), 700.0), ((100.0, 400.0), 1000.0)],
    ids=["none has a node", "one holds a node", "all have one"],
)
def test_the_startup_clock_runs_from_the_first_or_the_last_node(
    placed_at: tuple[float, ...], due: float | None
) -> None:
    job = accept()
    pods = [run_pod(replace(job.pods[0], rank=rank), scheduled_at=time) for rank, time in enumerate(placed_at)]

    assert compute_startup_clock(pods, wanted=2, allowed=600).due == due


def pods() -> st.SearchStrategy[ObservedPod]:
    names = st.sampled_from(["", "Evicted", "OOMKilled", "NodeLost", "Error", "OutOfcpu", "StartError", "PodFailed"])
    return st.builds(
        ObservedPod,
        name=st.just("p"),
        uid=st.just("u"),
        owner_uid=st.just("o"),
        attempt=st.just(0),
        rank=st.just(0),
        run_hash=st.just("h"),
        phase=st.sampled_from(["Failed", "Unknown", "Running", "Pending"]),
        created=st.just(NOW),
        deleting=st.booleans(),
        pod_reason=names,
        disruption=names,
        container_reason=names,
        exit_code=st.none() | st.integers(0, 255),
        signal=st.none() | st.integers(1, 31),
        node=st.sampled_from(["", "n1"]),
    )


@given(pod=pods(), lost=st.booleans())
def test_every_end_of_a_pod_has_a_cause(pod: ObservedPod, *, lost: bool) -> None:
    assert classify(pod, lost_nodes=frozenset({"n1"} if lost else ())) in BUDGETS
