"""The progress deadline: which rank has not given a sign of life for too long. Pure; time is a parameter.

Progress is a rank's counter changing, seen on the reader's monotonic clock: no clock of a rank is trusted, and a process that
is stopped, blocked in a collective or waiting for a volume looks the same. Every phase beats, so each has the whole deadline.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from oarlock_api.contract import PodPhase, Standing
from oarlock_trainer.agent.standing import ORDER, Place
from oarlock_trainer.rank_record import RankReading


@dataclass(frozen=True, kw_only=True, slots=True)
class Hang:
    """A rank, or torchrun itself where no rank exists yet, that made no progress within the deadline."""

    local_rank: int | None
    seconds: float
    phase: PodPhase
    step: int | None = None
    place: Place = field(default_factory=lambda: Place(standing=Standing.UNKNOWN))
    """What it seems to do."""


_STALL_SECONDS = 20.0
"""Silence of a working rank that is worth a word, if it has not been as silent before."""
_STOPPED_SECONDS = 5.0
_SLOWER = 3.0
"""A rank may be silent for so many times its longest silence so far before it is worth a word."""
_LONGEST_STALL_SECONDS = 300.0
_STEADY = frozenset({PodPhase.TRAINING, PodPhase.VALIDATING, PodPhase.CHECKPOINTING, PodPhase.IMPORTING})
"""Phases that beat many times: in the others a long silence is usual."""


class ProgressWatch:
    """Remembers when each rank's counter was last seen to change."""

    def __init__(self, *, deadline: float | None) -> None:
        self._deadline = deadline
        self._seen: dict[int, tuple[int, float]] = {}
        self._phases: dict[int, PodPhase] = {}
        """The phase in which each rank was when its counter was last seen to change."""
        self._longest: dict[tuple[int, PodPhase], float] = {}

    def observe(self, counters: Mapping[int, int], *, phases: Mapping[int, PodPhase] | None = None, now: float) -> None:
        """Take in the counter of every living rank; -1 for one that has no record yet. Ranks that are absent are forgotten."""
        before, self._seen = self._seen, {}
        for rank, counter in counters.items():
            counter_before, since = before.get(rank, (None, now))
            if counter_before == counter:
                self._seen[rank] = (counter, since)
                continue
            if spent_in := self._phases.get(rank):
                self._longest[rank, spent_in] = max(self._longest.get((rank, spent_in), 0.0), now - since)
            self._seen[rank] = (counter, now)
            self._phases |= {rank: phases[rank]} if phases and rank in phases else {}

    def is_overdue(self, *, now: float) -> bool:
        return self._deadline is not None and any(now - since >= self._deadline for _, since in self._seen.values())

    def measure_silences(self, *, now: float) -> dict[int, float]:
        """Return for how many seconds each living rank has not moved."""
        return {rank: now - since for rank, (_, since) in self._seen.items()}

    def find_stalled(
        self, phases: Mapping[int, PodPhase], *, stopped: frozenset[int] = frozenset(), now: float
    ) -> list[int]:
        """Return the ranks whose silence is worth a word: longer than their phase and their past let expect."""
        silences = self.measure_silences(now=now)
        return [rank for rank, silence in silences.items() if silence >= self._allow(rank, phases.get(rank), stopped)]

    def _allow(self, rank: int, phase: PodPhase | None, stopped: frozenset[int]) -> float:
        """Return for how many seconds a rank may be silent before it is worth a word."""
        longest = _LONGEST_STALL_SECONDS if self._deadline is None else self._deadline / 2
        if rank in stopped:
            return min(longest, _STOPPED_SECONDS)
        if phase is None or phase not in _STEADY:
            return longest
        return min(longest, max(_STALL_SECONDS, _SLOWER * self._longest.get((rank, phase), 0.0)))

    def find_hang(
        self, readings: Mapping[int, RankReading | None], *, places: Mapping[int, Place], now: float
    ) -> Hang | None:
        """Return the culprit, once any rank is overdue.

        One hung rank makes all others wait for it, so that they are overdue too or soon will be: the culprit is the one whose
        place says so, else the one that fell silent first by the ranks' own clock, which is finer than the agent's looks.
        """
        if not self.is_overdue(now=now):
            return None
        culprit = min(self._seen, key=lambda rank: _seniority(rank, readings.get(rank), places.get(rank)))
        reading = readings.get(culprit)
        return Hang(
            local_rank=culprit,
            seconds=now - self._seen[culprit][1],
            phase=reading.phase if reading else PodPhase.STARTING,
            step=reading.step if reading else None,
            place=places.get(culprit) or Place(standing=Standing.UNKNOWN),
        )


def _seniority(rank: int, reading: RankReading | None, place: Place | None) -> tuple[int, float, int]:
    standing = place.standing if place else Standing.UNKNOWN
    return ORDER.index(standing), reading.since if reading else 0.0, rank
