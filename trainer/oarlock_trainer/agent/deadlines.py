"""The progress deadline: which rank has not given a sign of life for too long. Pure; time is a parameter.

Progress is a rank's counter changing, seen on the reader's monotonic clock: no clock of a rank is trusted, and a process that
is stopped, blocked in a collective or waiting for a volume looks the same. Every phase beats, so each has the whole deadline.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from oarlock_api.contract import PodPhase
from oarlock_trainer.rank_record import RankReading


@dataclass(frozen=True, kw_only=True, slots=True)
class Hang:
    """A rank, or torchrun itself where no rank exists yet, that made no progress within the deadline."""

    local_rank: int | None
    seconds: float
    phase: PodPhase
    step: int | None = None
    stopped: bool = False
    """Whether the kernel says that the process is stopped (SIGSTOP, a debugger)."""


class ProgressWatch:
    """Remembers when each rank's counter was last seen to change."""

    def __init__(self, *, deadline: float | None) -> None:
        self._deadline = deadline
        self._seen: dict[int, tuple[int, float]] = {}

    def observe(self, counters: Mapping[int, int], *, now: float) -> None:
        """Take in the counter of every living rank; -1 for one that has no record yet. Ranks that are absent are forgotten."""
        self._seen = {
            rank: self._seen[rank] if rank in self._seen and self._seen[rank][0] == counter else (counter, now)
            for rank, counter in counters.items()
        }

    def is_overdue(self, *, now: float) -> bool:
        return self._deadline is not None and any(now - since >= self._deadline for _, since in self._seen.values())

    def find_hang(
        self, readings: Mapping[int, RankReading | None], *, stopped: frozenset[int] = frozenset(), now: float
    ) -> Hang | None:
        """Return the culprit, once any rank is overdue.

        One hung rank makes all others wait for it, so that they are overdue too or soon will be: the culprit is one that is
        stopped, else the one that fell silent first by the ranks' own clock, which is finer than the agent's looks.
        """
        if not self.is_overdue(now=now):
            return None
        culprit = min(
            self._seen,
            key=lambda rank: (rank not in stopped, reading.since if (reading := readings.get(rank)) else 0.0, rank),
        )
        reading = readings.get(culprit)
        return Hang(
            local_rank=culprit,
            seconds=now - self._seen[culprit][1],
            phase=reading.phase if reading else PodPhase.STARTING,
            step=reading.step if reading else None,
            stopped=culprit in stopped,
        )
