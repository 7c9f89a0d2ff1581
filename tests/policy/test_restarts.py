"""What a cause costs, and when it is enough."""

import hypothesis.strategies as st
import pytest
from hypothesis import given

from oarlock_api.contract import Cause
from oarlock_api.v1alpha1.status import FailureRecord
from oarlock_operator.policy.backoff import LASTING_SECONDS, MAX_DELAY_SECONDS, compute_retry_delay
from oarlock_operator.policy.causes import OperatorCause
from oarlock_operator.policy.restarts import BUDGETS, Budget, Verdict, budget_of, decide_restart
from oarlock_operator.policy.times import format_time

NOW = 1_800_000_000.0


def decide(
    cause: str, *, progressed: bool = True, counted: int = 0, earlier: tuple[FailureRecord, ...] = ()
) -> Verdict:
    return decide_restart(
        cause, progressed=progressed, counted_restarts=counted, backoff_limit=3, earlier=earlier, now=NOW
    )


def fault(*, ago: float, cause: str = Cause.HUNG) -> FailureRecord:
    return FailureRecord(attempt=0, cause=cause, message="", time=format_time(NOW - ago))


def test_every_cause_has_a_budget() -> None:
    assert set(BUDGETS) == {*Cause, *OperatorCause}


def test_a_cause_of_a_newer_trainer_counts() -> None:
    assert budget_of("SolarFlare") is Budget.COUNTED


@pytest.mark.parametrize("progressed", [True, False])
def test_what_the_cluster_takes_away_is_always_free(progressed: bool) -> None:  # noqa: FBT001
    assert decide("Evicted", progressed=progressed, counted=99) == Verdict(restart=True)


@pytest.mark.parametrize(
    ("earlier", "counts"),
    [
        ((), False),
        ((fault(ago=60),), False),
        ((fault(ago=120), fault(ago=60)), True),
        ((fault(ago=7200), fault(ago=60)), False),
        ((fault(ago=120, cause="Evicted"), fault(ago=60)), False),
    ],
    ids=["first", "second", "third in an hour", "one is old", "one was free"],
)
def test_infrastructure_faults_count_when_they_are_frequent(earlier: tuple[FailureRecord, ...], counts: bool) -> None:  # noqa: FBT001
    assert decide(Cause.COLLECTIVE_FAILED, earlier=earlier) == Verdict(restart=True, counts=counts)


@pytest.mark.parametrize("cause", BUDGETS)
def test_no_budget_that_is_spent_gives_a_counted_restart(cause: str) -> None:
    verdict = decide(cause, progressed=False, counted=3)

    assert not verdict.counts
    assert verdict.restart is (BUDGETS[cause] is Budget.FREE)
    assert verdict.restart or verdict.why


@given(causes=st.lists(st.sampled_from([cause for cause in BUDGETS if BUDGETS[cause] is not Budget.FREE]), max_size=40))
def test_a_crash_loop_without_progress_ends(causes: list[str]) -> None:
    restarts = counted = 0
    for cause in causes:
        verdict = decide(cause, progressed=restarts == 0, counted=counted)
        if not verdict.restart:
            break
        restarts, counted = restarts + 1, counted + verdict.counts

    assert restarts <= 4


def test_the_delay_doubles_to_its_cap() -> None:
    now, failed_before, retried_at = NOW, None, None
    delays = []
    for _ in range(10):
        delay = compute_retry_delay(base=5, failed_before=failed_before, retried_at=retried_at, now=now)
        delays.append(delay)
        failed_before, retried_at, now = now, now + delay, now + delay + 1

    assert delays == [5, 10, 20, 40, 80, 160, 320, MAX_DELAY_SECONDS, MAX_DELAY_SECONDS, MAX_DELAY_SECONDS]


def test_the_delay_begins_anew_when_an_attempt_has_lasted() -> None:
    retried_at = NOW - LASTING_SECONDS

    assert compute_retry_delay(base=5, failed_before=retried_at - 320, retried_at=retried_at, now=NOW) == 5
