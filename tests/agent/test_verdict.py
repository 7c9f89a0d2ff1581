"""From evidence to verdict: pure."""

import signal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oarlock_api.contract import EXIT_CODES, Cause, Failure, Outcome, PodPhase
from oarlock_trainer.agent.deadlines import Hang
from oarlock_trainer.agent.evidence import Evidence
from oarlock_trainer.agent.out_of_memory import count_oom_kills
from oarlock_trainer.agent.process_tree import ProcessEnd
from oarlock_trainer.agent.verdict import decide_verdict, exit_code_for
from oarlock_trainer.rank_record import RankReading

KILLED = signal.SIGKILL


def reading(
    rank: int = 0, *, cause: Cause | None = None, at: float = 0.0, outcome: Outcome | None = None
) -> RankReading:
    return RankReading(
        rank=rank,
        pid=10 + rank,
        phase=PodPhase.TRAINING,
        counter=1,
        step=5,
        position=50,
        since=1.0,
        failure=Failure(cause=cause, message=f"{cause} of rank {rank}") if cause else None,
        failed_at=at if cause else None,
        outcome=Outcome.FAILED if cause else outcome,
    )


def evidence(*readings: RankReading, ends: dict[int, ProcessEnd] | None = None, **changes: Any) -> Evidence:
    values = {"program": "torchrun", "node": 0, "nodes": 1, "processes": max(2, len(readings)), **changes}
    return Evidence(readings=dict(enumerate(readings)), ends=ends or {}, **values)


def test_earliest_failure_is_the_first_when_several_ranks_report() -> None:
    found = evidence(reading(0, cause=Cause.DATA_CORRUPT, at=3.0), reading(1, cause=Cause.STORAGE_FULL, at=2.0))
    failure = decide_verdict(found).failure

    assert failure is not None
    assert (failure.cause, failure.rank, failure.node, failure.phase, failure.step) == (
        "StorageFull",
        1,
        0,
        "Training",
        5,
    )


def test_own_failure_is_named_when_a_broken_collective_was_reported_before_it() -> None:
    found = evidence(reading(0, cause=Cause.COLLECTIVE_FAILED, at=1.0), reading(1, cause=Cause.USER_ERROR, at=2.0))

    assert decide_verdict(found).failure.cause == Cause.USER_ERROR  # type: ignore[union-attr]


def test_collective_is_named_when_nothing_else_is_known() -> None:
    """On several nodes the rank that failed may be in another pod."""
    found = evidence(
        reading(0, cause=Cause.COLLECTIVE_FAILED, at=2.0), reading(1, cause=Cause.COLLECTIVE_FAILED, at=1.0)
    )

    assert decide_verdict(found).failure.rank == 1  # type: ignore[union-attr]


def test_global_rank_is_named_when_a_rank_of_a_later_node_is_killed() -> None:
    found = evidence(reading(4), reading(5), ends={1: ProcessEnd(signal=KILLED, at=1.0)}, node=2, nodes=3)
    failure = decide_verdict(found).failure

    assert failure is not None
    assert (failure.cause, failure.rank, failure.node) == (Cause.PROCESS_KILLED, 5, 2)


def test_memory_is_blamed_when_the_oom_killer_was_at_work() -> None:
    found = evidence(reading(0), reading(1), ends={0: ProcessEnd(signal=KILLED, at=1.0)}, oom_kills=1)
    verdict = decide_verdict(found)

    assert exit_code_for(verdict) == EXIT_CODES[Cause.OUT_OF_MEMORY]
    assert verdict.failure is not None
    assert "workers.resources.memory" in verdict.failure.remedy


def test_users_error_stays_when_the_oom_killer_was_at_work_too() -> None:
    found = evidence(reading(0, cause=Cause.USER_ERROR), reading(1), oom_kills=1)

    assert decide_verdict(found).failure.cause == Cause.USER_ERROR  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("number", "word"),
    [(signal.SIGSEGV, "native library crashed"), (signal.SIGBUS, "/dev/shm"), (signal.SIGABRT, "NCCL")],
)
def test_remedy_fits_the_signal_when_a_rank_crashes(number: signal.Signals, word: str) -> None:
    failure = decide_verdict(evidence(reading(0), reading(1), ends={0: ProcessEnd(signal=number, at=1.0)})).failure

    assert failure is not None
    assert (failure.cause, failure.signal) == (Cause.PROCESS_KILLED, number)
    assert number.name in failure.message
    assert word in failure.remedy


def test_torchrun_is_named_when_its_ranks_die_with_it() -> None:
    ends = {rank: ProcessEnd(signal=KILLED, at=1.0) for rank in (0, 1)}
    found = evidence(reading(0), reading(1), ends=ends, launcher_end=ProcessEnd(signal=KILLED, at=1.1))
    failure = decide_verdict(found).failure

    assert failure is not None
    assert (failure.cause, failure.rank) == (Cause.PROCESS_KILLED, None)
    assert "torchrun" in failure.message


def test_pod_succeeds_when_torchrun_fails_after_all_ranks_have_finished() -> None:
    readings = [reading(rank, outcome=Outcome.SUCCEEDED) for rank in (0, 1)]

    assert decide_verdict(evidence(*readings, launcher_end=ProcessEnd(code=1, at=1.0))).outcome is Outcome.SUCCEEDED


def test_pod_does_not_succeed_when_one_rank_has_not_finished() -> None:
    ends = {rank: ProcessEnd(code=0, at=1.0) for rank in (0, 1)}
    verdict = decide_verdict(evidence(reading(0, outcome=Outcome.SUCCEEDED), reading(1), ends=ends))

    assert verdict.outcome is Outcome.FAILED
    assert "Rank 1" in verdict.failure.message  # type: ignore[union-attr]


@pytest.mark.parametrize(("codes", "outcome"), [((0, 0), Outcome.SUCCEEDED), ((0, 2), Outcome.FAILED)])
def test_exit_codes_decide_when_a_program_keeps_no_records(codes: tuple[int, ...], outcome: Outcome) -> None:
    ends = {rank: ProcessEnd(code=code, at=1.0) for rank, code in enumerate(codes)}

    assert decide_verdict(evidence(ends=ends)).outcome is outcome


def test_pod_is_suspended_when_ranks_of_this_node_were_told_by_another() -> None:
    """Only one pod got SIGTERM; the ranks of all agreed to stop."""
    readings = [reading(rank, outcome=Outcome.SUSPENDED) for rank in (0, 1)]

    assert decide_verdict(evidence(*readings, nodes=2)).outcome is Outcome.SUSPENDED


@pytest.mark.parametrize("cause", [Cause.COLLECTIVE_FAILED, Cause.PROCESS_KILLED, Cause.UNKNOWN])
def test_pod_is_suspended_when_ranks_break_on_their_way_out(cause: Cause) -> None:
    found = evidence(reading(0, cause=cause), reading(1), stopping=True)

    assert decide_verdict(found).outcome is Outcome.SUSPENDED


def test_pod_fails_when_the_last_checkpoint_does_not_fit_on_the_volume() -> None:
    found = evidence(reading(0, cause=Cause.STORAGE_FULL), reading(1), stopping=True)

    assert exit_code_for(decide_verdict(found)) == EXIT_CODES[Cause.STORAGE_FULL]


def test_pod_is_superseded_when_any_rank_is() -> None:
    found = evidence(reading(0, cause=Cause.COLLECTIVE_FAILED), reading(1, outcome=Outcome.SUPERSEDED), stopping=True)

    assert exit_code_for(decide_verdict(found)) == 76


def test_hang_outweighs_what_killing_it_brought_about() -> None:
    hang = Hang(local_rank=1, seconds=600, phase=PodPhase.CHECKPOINTING, step=5)
    found = evidence(reading(0, cause=Cause.COLLECTIVE_FAILED), reading(1), hang=hang)
    failure = decide_verdict(found).failure

    assert failure is not None
    assert (failure.cause, failure.rank, failure.phase) == (Cause.HUNG, 1, "Checkpointing")


_ENDS = st.builds(ProcessEnd, code=st.none() | st.integers(0, 255), signal=st.none(), at=st.floats(0, 10)) | st.builds(
    ProcessEnd, signal=st.integers(1, 64), at=st.floats(0, 10)
)
_READINGS = st.builds(
    reading,
    st.integers(0, 7),
    cause=st.none() | st.sampled_from(Cause),
    at=st.floats(0, 10),
    outcome=st.none() | st.sampled_from(Outcome),
)


@given(
    readings=st.dictionaries(st.integers(0, 3), _READINGS),
    ends=st.dictionaries(st.integers(0, 3), _ENDS),
    launcher_end=st.none() | _ENDS,
    nodes=st.integers(1, 3),
    oom_kills=st.integers(0, 2),
    stopping=st.booleans(),
)
def test_every_failure_has_cause_message_and_remedy_whatever_is_known(readings: Any, ends: Any, **known: Any) -> None:
    found = Evidence(program="torchrun", node=0, processes=4, readings=readings, ends=ends, **known)
    verdict = decide_verdict(found)

    assert (exit_code_for(verdict) == 0) == (verdict.outcome is Outcome.SUCCEEDED)
    if verdict.outcome is Outcome.FAILED:
        assert verdict.failure is not None
        assert verdict.failure.cause in set(Cause)
        assert verdict.failure.message


@pytest.mark.parametrize(
    ("content", "count"),
    [
        ("low 0\noom 3\noom_kill 2\noom_group_kill 0\n", 2),
        ("oom_kill_disable 0\nunder_oom 0\noom_kill 5\n", 5),
        ("", 0),
    ],
    ids=["v2", "v1", "unknown"],
)
def test_oom_kills_are_counted_when_the_cgroup_says_so(tmp_path: Path, content: str, count: int) -> None:
    file = tmp_path / "memory.events"
    file.write_text(content)

    assert count_oom_kills((tmp_path / "absent", file)) == count
