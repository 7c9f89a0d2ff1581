"""Nodes whose clocks are wrong: by how much, and what their times are on the clock that all deadlines are kept by. Pure.

From nodes come the start and the end of containers, and every time in what agents report. They are put right where they come in, so
that nothing that is decided, counted or shown later rests on the clock of a node: a time that cannot be right counts as not said.
Scheduling, creation and deletion are stamped by the API server, and silences are measured inside the pods, by clocks without a date.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from oarlock_api.contract import TerminationRecord, WorkerStatus
from oarlock_operator.policy.times import LATEST_TIME
from oarlock_operator.reconcile.observed import ObservedPod, WorkerReport

TOLERATED_SECONDS = 10.0
"""Two clocks agree if they differ by no more: answers take a while, and the API server tells whole seconds."""
TOLD_SECONDS = 60.0
"""A node whose clock is further off is named."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Skew:
    """By how much the clock of a node is wrong."""

    seconds: float
    """How far it is ahead; negative: behind."""
    is_measured: bool
    """Whether its agent has told the time; else it is only known to be off by so much at least."""

    @property
    def is_worth_telling(self) -> bool:
        return abs(self.seconds) > TOLD_SECONDS


def measure_skew(said: float | None, *, before: float | None, now: float) -> float | None:
    """Return by how many seconds a clock that says `said` at `now` is ahead; None: nobody has told its time.

    What was measured before holds as long as it is about right, so that times do not tremble from answer to answer.
    """
    if said is None:
        return before
    found = said - now
    if before is not None and abs(found - before) <= TOLERATED_SECONDS:
        return before
    return found if abs(found) > TOLERATED_SECONDS else 0.0


def correct_status(status: WorkerStatus, skew: float | None) -> WorkerStatus:
    """Return an answer with the times that it would hold if the clock of its node were right."""
    if not skew:
        return status
    return replace(
        status,
        phase_since=_shift(status.phase_since, skew),
        checkpoint_latest=_shift_times(status.checkpoint_latest, skew),
        checkpoint_best=_shift_times(status.checkpoint_best, skew),
        ranks=[_shift_times(rank, skew) or {} for rank in status.ranks],
        join=_shift_times(status.join, skew),
        stalled=[_shift_times(stalled, skew) or {} for stalled in status.stalled],
    )


def find_skews(pods: Sequence[ObservedPod], reports: Mapping[int, WorkerReport], *, now: float) -> dict[str, Skew]:
    """Return what is known of the clocks of the nodes on which pods of one attempt are.

    Args:
        pods: the pods.
        reports: the last answers of their agents, by node rank.
        now: seconds since 1970.
    """
    skews: dict[str, Skew] = {}
    for pod in pods:
        report = reports.get(pod.rank)
        if report is not None and report.skew is not None:
            skews[pod.node] = Skew(seconds=report.skew, is_measured=True)
        elif (seconds := _estimate(pod, now=now)) and pod.node not in skews:
            skews[pod.node] = Skew(seconds=seconds, is_measured=False)
    return skews


def correct_pod(pod: ObservedPod, skews: Mapping[str, Skew], *, now: float) -> ObservedPod:
    """Return a pod with the times that it would show if the clock of its node were right."""
    skew = skews.get(pod.node)
    if skew is None or not skew.seconds:
        return pod
    return replace(
        pod,
        started=_settle(pod.started, pod, skew, now=now),
        finished=_settle(pod.finished, pod, skew, now=now),
        # By a guess, which changes with every look, a checkpoint would have another time in every status.
        termination=_correct_record(pod.termination, skew.seconds) if skew.is_measured else pod.termination,
    )


def _estimate(pod: ObservedPod, *, now: float) -> float:
    """Return by how much a clock is wrong at least, by its own times of a pod: nothing begins before it has a node, nor after now."""
    times = [time for time in (pod.started, pod.finished) if time is not None]
    placed = pod.scheduled_at or pod.created
    if times and max(times) > now + TOLERATED_SECONDS:
        return max(times) - now
    if times and min(times) < placed - TOLERATED_SECONDS:
        return min(times) - placed
    return 0.0


def _settle(said: float | None, pod: ObservedPod, skew: Skew, *, now: float) -> float | None:
    """Return a time of a pod on our own clock; None if nobody knows it."""
    if said is None or not skew.is_measured:
        return None
    moment, earliest = said - skew.seconds, pod.scheduled_at or pod.created
    # The clock may have been put right since it was measured.
    is_possible = earliest - TOLERATED_SECONDS <= moment <= now + TOLERATED_SECONDS
    return min(moment, now) if is_possible else None


def _correct_record(record: TerminationRecord | None, seconds: float) -> TerminationRecord | None:
    if record is None:
        return None
    return replace(
        record,
        checkpoint_latest=_shift_times(record.checkpoint_latest, seconds),
        checkpoint_best=_shift_times(record.checkpoint_best, seconds),
    )


def _shift_times(wire: Mapping[str, Any] | None, seconds: float) -> dict[str, Any] | None:
    """Return a record with its times put right."""
    if wire is None:
        return None
    times = {name: _shift(wire[name], seconds) for name in ("time", "since", "due") if wire.get(name) is not None}
    return {**wire, **times}


def _shift(moment: float, seconds: float) -> float:
    # Whoever answers may lie about the time, too.
    return min(max(0.0, moment - seconds), LATEST_TIME)
