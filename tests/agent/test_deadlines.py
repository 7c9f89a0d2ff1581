"""The progress deadline and the retry budget: pure, with time as a parameter."""

from hypothesis import given
from hypothesis import strategies as st

from oarlock_api.contract import RETRIED_IN_PLACE, Cause, Failure, Outcome, PodPhase, Standing
from oarlock_trainer.agent.deadlines import ProgressWatch
from oarlock_trainer.agent.evidence import Verdict
from oarlock_trainer.agent.retries import MAX_RETRIES_WITHOUT_PROGRESS, RetryBudget
from oarlock_trainer.agent.standing import Place
from oarlock_trainer.rank_record import RankReading


def reading(rank: int, *, since: float, phase: PodPhase = PodPhase.TRAINING) -> RankReading:
    return RankReading(rank=rank, pid=1, phase=phase, counter=1, step=7, position=None, since=since)


@given(gaps=st.lists(st.floats(0, 9.9), min_size=1, max_size=30))
def test_no_rank_is_overdue_while_its_counter_changes_within_the_deadline(gaps: list[float]) -> None:
    watch, now = ProgressWatch(deadline=10), 100.0
    for counter, gap in enumerate(gaps):
        watch.observe({0: counter}, now=now)
        assert not watch.is_overdue(now=now + gap)
        now += gap


@given(counter=st.integers(-1), silent=st.floats(10, 1e6), looks=st.integers(1, 10))
def test_rank_is_overdue_when_its_counter_stands_still_however_often_one_looks(
    counter: int, silent: float, looks: int
) -> None:
    watch = ProgressWatch(deadline=10)
    for look in range(looks + 1):
        watch.observe({0: counter}, now=silent * look / looks)

    assert watch.is_overdue(now=silent)


def test_nobody_is_overdue_when_there_is_no_deadline() -> None:
    watch = ProgressWatch(deadline=None)
    watch.observe({0: 1}, now=0)

    assert watch.find_hang({}, places={}, now=1e9) is None


def test_rank_that_fell_silent_first_is_named_when_all_are_overdue() -> None:
    watch = ProgressWatch(deadline=10)
    watch.observe({0: 1, 1: 1}, now=0)
    readings = {0: reading(0, since=2.2), 1: reading(1, since=2.1, phase=PodPhase.CHECKPOINTING)}
    hang = watch.find_hang(readings, places={}, now=10)

    assert hang is not None
    assert (hang.local_rank, hang.phase, hang.step, hang.seconds) == (1, PodPhase.CHECKPOINTING, 7, 10)


def test_stopped_rank_is_named_when_another_fell_silent_before_it() -> None:
    watch = ProgressWatch(deadline=10)
    watch.observe({0: 1, 1: 1}, now=0)
    places = {1: Place(standing=Standing.STOPPED)}
    hang = watch.find_hang({0: reading(0, since=1), 1: reading(1, since=2)}, places=places, now=10)

    assert hang is not None
    assert (hang.local_rank, hang.place.standing) == (1, Standing.STOPPED)


def test_rank_without_a_record_is_named_when_it_never_starts_to_report() -> None:
    watch = ProgressWatch(deadline=10)
    watch.observe({0: -1}, now=0)
    hang = watch.find_hang({}, places={}, now=10)

    assert hang is not None
    assert (hang.local_rank, hang.phase) == (0, PodPhase.STARTING)


def test_rank_is_forgotten_when_it_has_ended() -> None:
    watch = ProgressWatch(deadline=10)
    watch.observe({0: 1, 1: 1}, now=0)
    watch.observe({1: 2}, now=9)

    assert not watch.is_overdue(now=15)


def failed(cause: Cause) -> Verdict:
    return Verdict(outcome=Outcome.FAILED, failure=Failure(cause=cause, message=""))


@given(cause=st.sampled_from(Cause), nodes=st.integers(1, 3))
def test_only_faults_of_the_machine_are_retried_and_only_on_one_node(cause: Cause, nodes: int) -> None:
    assert RetryBudget(nodes=nodes).allows(failed(cause)) == (cause in RETRIED_IN_PLACE and nodes == 1)


@given(progress=st.lists(st.integers(-1, 5), max_size=40))
def test_retries_are_bounded_by_what_the_checkpoints_advance(progress: list[int]) -> None:
    budget = RetryBudget(nodes=1)
    for step in progress:
        budget = budget.observe(step)
        if not budget.allows(failed(Cause.PROCESS_KILLED)):
            break
        budget = budget.spend()

    advances = len({step for index, step in enumerate(progress) if step > max([-1, *progress[:index]])})
    assert budget.retries <= MAX_RETRIES_WITHOUT_PROGRESS * (advances + 1)


def test_suspended_and_superseded_pods_are_never_retried() -> None:
    verdicts = [Verdict(outcome=outcome) for outcome in Outcome if outcome is not Outcome.FAILED]

    assert not any(RetryBudget(nodes=1).allows(verdict) for verdict in verdicts)
