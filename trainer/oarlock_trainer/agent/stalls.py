"""Ranks that do not move: noticed long before they count as hung, and asked where they are.

A warning, nothing more: it changes nothing for the ranks, and goes when they move again. The signal is sent once a silence, and
only to processes that have a handler for it.
"""

import contextlib
import os
import time
from collections.abc import Mapping
from pathlib import Path

from oarlock_api.contract import PodPhase, StalledRank
from oarlock_trainer.agent import procfs
from oarlock_trainer.agent.deadlines import ProgressWatch
from oarlock_trainer.agent.process_tree import send_signal
from oarlock_trainer.agent.standing import ORDER, Place, judge
from oarlock_trainer.rank_record import RankReading, rank_record_path
from oarlock_trainer.stacks import STACK_SIGNAL, stack_path

_MAX_SHOWN = 4
_MAX_DUMP_BYTES = 64 * 1024


class StallWatch:
    """Keeps, for each rank that does not move, where it is."""

    def __init__(self, records: Path, *, first_rank: int, deadline: float | None) -> None:
        self._records, self._first_rank, self._deadline = records, first_rank, deadline
        self._asked: dict[int, int] = {}
        """The counter at which a rank was last asked for its stack."""
        self.places: dict[int, Place] = {}
        self.stalled: tuple[StalledRank, ...] = ()

    def look(
        self, watch: ProgressWatch, readings: Mapping[int, RankReading], pids: Mapping[int, int], *, now: float
    ) -> None:
        """Take in what does not move at the monotonic time `now`, of the ranks with these processes."""
        silences = watch.measure_silences(now=now)
        states = {rank: _read_letter(pids[rank]) for rank in silences if rank in pids and silences[rank] >= 1}
        stopped = frozenset(rank for rank, letter in states.items() if letter in "Tt")
        phases = {rank: reading.phase for rank, reading in readings.items()}
        found = [rank for rank in watch.find_stalled(phases, stopped=stopped, now=now) if rank in pids]
        for rank in found:
            self._ask_once(rank, pids[rank], counter=readings[rank].counter if rank in readings else -1)
        self.places = {rank: self._find_place(rank, pids[rank]) for rank in found}
        stalled = [self._describe(rank, pids[rank], readings.get(rank), silences[rank]) for rank in found]
        self.stalled = tuple(sorted(stalled, key=_seniority)[:_MAX_SHOWN])

    def ask(self, local_rank: int, pid: int) -> bool:
        """Ask a rank for its stack anew; return whether it will answer."""
        if not procfs.catches_signal(pid, STACK_SIGNAL):
            return False
        with contextlib.suppress(OSError):
            os.truncate(self._dump_path(local_rank), 0)
        send_signal(pid, STACK_SIGNAL)
        return True

    def read_place(self, local_rank: int, pid: int) -> Place:
        """Return where a rank is, from what it has answered so far."""
        self.places[local_rank] = self._find_place(local_rank, pid)
        return self.places[local_rank]

    def _ask_once(self, rank: int, pid: int, *, counter: int) -> None:
        if self._asked.get(rank) != counter:
            self._asked[rank] = counter
            self.ask(rank, pid)

    def _find_place(self, rank: int, pid: int) -> Place:
        children = [_read_letter(child) for child in procfs.list_children(pid)]
        return judge(state=_read_letter(pid), children=children, dump=self._read_dump(rank))

    def _read_dump(self, rank: int) -> str:
        with contextlib.suppress(OSError), self._dump_path(rank).open("rb") as file:
            return file.read(_MAX_DUMP_BYTES).decode(errors="replace")
        return ""

    def _dump_path(self, rank: int) -> Path:
        return stack_path(rank_record_path(self._records, rank))

    def _describe(self, rank: int, pid: int, reading: RankReading | None, silence: float) -> StalledRank:
        # The rank's own time of its last beat, unless a clock was set meanwhile.
        since = reading.since if reading else time.time() - silence
        return StalledRank(
            rank=self._first_rank + rank,
            pid=pid,
            phase=reading.phase if reading else PodPhase.STARTING,
            step=reading.step if reading else None,
            since=since,
            due=None if self._deadline is None else since + self._deadline,
            standing=self.places[rank].standing,
            where=self.places[rank].where,
        )


def _read_letter(pid: int) -> str:
    state = procfs.read_state(pid)
    return state.state if state else "X"


def _seniority(stalled: StalledRank) -> tuple[int, float, int]:
    return [standing.value for standing in ORDER].index(stalled.standing), stalled.since, stalled.rank
