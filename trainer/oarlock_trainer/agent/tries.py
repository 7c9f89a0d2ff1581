"""One life of torchrun, or of an import: started, watched, stopped where it must be, and killed to the last process.

It finds facts and keeps deadlines; what the facts mean is the verdict's to say.
"""

import contextlib
import os
import resource
import shlex
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from pathlib import Path

from oarlock_api.contract import DATA_DIR_ENV, EXIT_SUCCESS, Cause, Outcome, PodPhase, StalledRank, Standing
from oarlock_trainer.agent import procfs
from oarlock_trainer.agent.command_line import build_command, build_environment
from oarlock_trainer.agent.config import AgentConfig, Mode
from oarlock_trainer.agent.deadlines import Hang, ProgressWatch
from oarlock_trainer.agent.evidence import Evidence
from oarlock_trainer.agent.log_tee import LogTee
from oarlock_trainer.agent.lost_files import LostFile, look_for_lost_file
from oarlock_trainer.agent.out_of_memory import count_oom_kills
from oarlock_trainer.agent.process_tree import ProcessEnd, kill_tree, reap, send_signal, start
from oarlock_trainer.agent.program import prepare_program
from oarlock_trainer.agent.program_stop import ProgramStop
from oarlock_trainer.agent.rank_processes import RankProcesses
from oarlock_trainer.agent.rendezvous import JoinWatch
from oarlock_trainer.agent.script_watch import ScriptWatch
from oarlock_trainer.agent.stalls import StallWatch
from oarlock_trainer.agent.stopping import StopRequest
from oarlock_trainer.peers import Peer, find_silent, read_peers
from oarlock_trainer.rank_record import RankReading, rank_record_path, read_rank_record

TICK_SECONDS = 0.25
_PEER_LINGER_SECONDS = 3.0
"""Time for the peers of a rank that died to report what they saw."""
_REPORT_LINGER_SECONDS = 10.0
"""Time for a rank that reported its failure to end."""
_FINISH_LINGER_SECONDS = 60.0
"""Time for ranks that have finished to end, and for torchrun on several nodes to meet the others at its last barrier."""
_STACK_SECONDS = 3.0
_KILL_SECONDS = 20.0

_LOOK_AT_STALLS_SECONDS = 1.0

_PROGRAMS = {Mode.TRAIN: "torchrun", Mode.IMPORT: "the importer", Mode.CHECK: "the check of the model"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """What one look at the ranks of this pod has shown."""

    readings: Mapping[int, RankReading] = field(default_factory=dict)
    """By local rank."""
    resident_bytes: Mapping[int, int] = field(default_factory=dict)
    stalled: tuple[StalledRank, ...] = ()


OnLook = Callable[[Look], None]


class _Ending(Enum):
    """Why a try is over."""

    ENDED = auto()
    STOPPED = auto()
    GRACE_EXPIRED = auto()
    RANK_FAILED = auto()
    HUNG = auto()


class Try:
    """Runs the child once."""

    def __init__(
        self,
        config: AgentConfig,
        *,
        retry: int,
        launcher: Sequence[str] | None,
        stop: StopRequest,
        tee: LogTee,
        on_look: OnLook,
        join: JoinWatch | None = None,
    ) -> None:
        self._config, self._stop, self._tee, self._on_look = config, stop, tee, on_look
        self._records = config.scratch_dir / "ranks" / str(retry)
        self._command = build_command(config, retry=retry, launcher=launcher)
        self._ranks = RankProcesses(expected=config.processes, selector=stop.selector)
        self._watch = ProgressWatch(deadline=config.progress_deadline)
        self._stalls = StallWatch(self._records, first_rank=config.first_rank, deadline=config.progress_deadline)
        self._join = join
        self._script = ScriptWatch(config, retry=retry, tee=tee) if config.program else None
        self._retry = retry
        self._readings: dict[int, RankReading] = {}
        self._launcher = 0
        self._launcher_end: ProcessEnd | None = None
        self._asked_to_stop: set[int] = set()
        self._program_stop = ProgramStop()
        self._first_seen: dict[str, float] = {}
        self._hang: Hang | None = None
        self._looked_at_stalls = 0.0

    def run(self, environment: Mapping[str, str]) -> Evidence:
        """Run the child to its end and return the evidence; nothing of it is alive then.

        Raises:
            OSError: if the scratch folder cannot be written or the program cannot be started.
        """
        oom_kills = count_oom_kills()
        self._start(environment)
        while (ending := self._find_ending(now=time.monotonic())) is None:
            self._stop.wait(TICK_SECONDS)
            self._look()
        ends = dict(self._ranks.ends)  # before anything is killed
        silent = self._find_silent_nodes()
        unkillable = self._end(ending)
        return Evidence(
            program=_PROGRAMS[self._config.mode],
            node=self._config.node,
            nodes=self._config.nodes,
            processes=self._config.processes,
            readings=self._readings,
            ends=ends,
            launcher_end=self._launcher_end if self._config.mode is Mode.TRAIN else None,
            hang=self._hang,
            join=self._join.view if self._join else None,
            silent=silent,
            oom_kills=count_oom_kills() - oom_kills,
            stopping=self._stop.requested,
            grace_expired=ending is _Ending.GRACE_EXPIRED,
            last_lines=self._tee.last_lines,
            is_script=self._script is not None,
            lost_file=_look_for_lost_file(ends, environment),
            unkillable=unkillable,
        )

    def _start(self, environment: Mapping[str, str]) -> None:
        self._records.mkdir(parents=True, exist_ok=True)
        self._tee.say(f"Starting {shlex.join(self._command)}")
        output = self._tee.open_pipe()
        try:
            own = build_environment(self._config, environment, records=self._records)
            own |= prepare_program(self._config, environment, retry=self._retry)
            self._launcher = start(self._command, environment=own, output=output)
        finally:
            os.close(output)
        self._mark("started")
        if self._join:
            self._join.launcher = self._launcher
        if self._config.mode is not Mode.TRAIN:
            self._ranks.add(0, self._launcher)

    def _look(self) -> None:
        """Take in everything that has changed, and pass on a request to stop."""
        self._ranks.discover(self._launcher)
        self._ranks.collect_ends()
        reaped = reap()
        self._ranks.note_reaped(reaped)
        self._launcher_end = reaped.get(self._launcher, self._launcher_end)
        self._read_records()
        self._mark_endings()
        self._forward_stop()
        if self._join and self._ranks.pids:
            self._join.finish()
        self._look_at_stalls(now=time.monotonic())
        self._on_look(Look(readings=self._readings, resident_bytes=self._measure_ranks(), stalled=self._stalls.stalled))

    def _look_at_stalls(self, *, now: float) -> None:
        if now - self._looked_at_stalls >= min(_LOOK_AT_STALLS_SECONDS, (self._config.progress_deadline or 60.0) / 4):
            self._looked_at_stalls = now
            self._stalls.look(self._watch, self._readings, self._ranks.alive, now=now)

    def _read_records(self) -> None:
        for local_rank in range(self._config.processes):
            reading = read_rank_record(rank_record_path(self._records, local_rank))
            if reading is not None:
                self._readings[local_rank] = reading
        if self._script:
            recorded = {rank: reading for rank, reading in self._readings.items() if not reading.is_outside}
            self._readings |= self._script.look(self._ranks.pids, recorded)
        working = (rank for rank in self._ranks.alive if self._outcome(rank) is None and self._is_counted(rank))
        counters = {rank: self._readings[rank].counter if rank in self._readings else -1 for rank in working}
        phases = {rank: reading.phase for rank, reading in self._readings.items()}
        self._watch.observe(counters, phases=phases, now=time.monotonic())

    def _is_counted(self, local_rank: int) -> bool:
        """Say whether a rank that falls silent can be hung: a program that never says anything cannot."""
        if self._script is None:
            return True
        reading = self._readings.get(local_rank)
        return reading is not None and self._script.is_counted(local_rank, reading)

    def _mark_endings(self) -> None:
        """Note when each thing that ends a try was first seen."""
        if any(self._has_died_badly(rank, end) for rank, end in self._ranks.ends.items()):
            self._mark("died")
        if any(reading.failure for reading in self._readings.values()):
            self._mark("reported")
        if all(self._outcome(rank) or rank in self._ranks.ends for rank in range(self._config.processes)):
            self._mark("finished")

    def _forward_stop(self) -> None:
        if not self._stop.requested:
            return
        if self._script:
            self._program_stop.look(self._ranks.pids.values(), launcher=self._launcher)
            return
        new = set(self._ranks.alive) - self._asked_to_stop
        self._ranks.signal(signal.SIGTERM, local_ranks=new)
        self._asked_to_stop |= new

    def _find_ending(self, *, now: float) -> _Ending | None:
        end_of_stop = self._find_end_of_stop(now=now)
        if self._script and self._stop.requested:
            return end_of_stop
        if self._launcher_end is not None or (self._ranks.all_ended and self._config.nodes == 1):
            return _Ending.ENDED
        if end_of_stop:
            return end_of_stop
        if self._is_past("died", _PEER_LINGER_SECONDS, now) or self._is_past("reported", _REPORT_LINGER_SECONDS, now):
            return _Ending.RANK_FAILED
        if self._is_past("finished", _FINISH_LINGER_SECONDS, now):
            return _Ending.ENDED
        self._hang = None if self._stop.requested else self._find_hang(now=now)
        return _Ending.HUNG if self._hang else None

    def _find_end_of_stop(self, *, now: float) -> _Ending | None:
        """Say whether a stop is done. A program has its whole grace period: a shell or torchrun may end before it has saved."""
        if self._stop.requested_at is None:
            return None
        if self._program_stop.alive == set() if self._script else not self._ranks.alive:
            return _Ending.STOPPED
        is_over = now - self._stop.requested_at >= self._config.grace_period - self._config.stop_margin
        return _Ending.GRACE_EXPIRED if is_over else None

    def _find_hang(self, *, now: float) -> Hang | None:
        deadline = self._config.progress_deadline
        if deadline is None:
            return None
        if not self._ranks.pids:
            waited = now - self._first_seen["started"]
            phase = PodPhase.STARTING if self._config.nodes == 1 else PodPhase.RENDEZVOUS
            overdue = waited > self._config.join_timeout + deadline
            return Hang(local_rank=None, seconds=waited, phase=phase) if overdue else None
        if not self._watch.is_overdue(now=now):
            return None
        places = {rank: self._stalls.read_place(rank, pid) for rank, pid in self._ranks.alive.items()}
        return self._watch.find_hang(self._readings, places=places, now=now)

    def _find_silent_nodes(self) -> list[Peer]:
        """Ask the other nodes for a sign of life, if this one's ranks miss one."""
        waits = self._hang is not None and self._hang.place.standing is Standing.WAITS_FOR_RANKS
        broke = any(r.failure and r.failure.cause == Cause.COLLECTIVE_FAILED for r in self._readings.values())
        if self._config.nodes == 1 or not (waits or broke):
            return []
        return find_silent(peer for peer in read_peers(self._records) if peer.node != self._config.node)

    def _end(self, ending: _Ending) -> str:
        """Kill what is left and take the last readings; return what could not be killed."""
        if ending is _Ending.HUNG and self._hang is not None and self._hang.local_rank is not None:
            self._dump_stack(self._hang, self._hang.local_rank)
        self._ranks.close()
        unkillable = ""
        try:
            kill_tree(timeout=_KILL_SECONDS)
        except TimeoutError as error:
            unkillable = str(error)
        self._tee.drain(timeout=2.0)
        self._read_records()
        if self._script:
            self._script.close()
        return unkillable

    def _dump_stack(self, hang: Hang, local_rank: int) -> None:
        """Have Python's fault handler say where the hung rank is: on request, else by SIGABRT, before the process ends."""
        pid = self._ranks.pids[local_rank]
        asked = self._stalls.ask(local_rank, pid)
        if not asked:
            with contextlib.suppress(OSError):  # without a core file, which may be as large as the model
                resource.prlimit(pid, resource.RLIMIT_CORE, (0, 0))
            send_signal(pid, signal.SIGABRT)
        send_signal(pid, signal.SIGCONT)
        deadline = time.monotonic() + _STACK_SECONDS
        while local_rank in self._ranks.alive and time.monotonic() < deadline:
            self._stop.wait(0.05)
            self._ranks.collect_ends()
            place = self._stalls.read_place(local_rank, pid)
            if place.stack:
                # What it is called was decided while it was as it hung: a stopped process goes on to answer.
                self._hang = replace(hang, place=replace(hang.place, stack=place.stack))
                return

    def _measure_ranks(self) -> dict[int, int]:
        sizes = {rank: procfs.read_resident_bytes(pid) for rank, pid in self._ranks.alive.items()}
        return {rank: size for rank, size in sizes.items() if size is not None}

    def _outcome(self, local_rank: int) -> Outcome | None:
        reading = self._readings.get(local_rank)
        return reading.outcome if reading else None

    def _has_died_badly(self, local_rank: int, end: ProcessEnd) -> bool:
        return self._outcome(local_rank) not in (Outcome.SUCCEEDED, Outcome.SUSPENDED) and end.code != EXIT_SUCCESS

    def _mark(self, event: str) -> None:
        self._first_seen.setdefault(event, time.monotonic())

    def _is_past(self, event: str, seconds: float, now: float) -> bool:
        return event in self._first_seen and now - self._first_seen[event] >= seconds


def _look_for_lost_file(ends: Mapping[int, ProcessEnd], environment: Mapping[str, str]) -> LostFile | None:
    folder = environment.get(DATA_DIR_ENV)
    if not folder or all(end.signal != signal.SIGBUS for end in ends.values()):
        return None
    return look_for_lost_file(Path(folder))


def clear_records(config: AgentConfig) -> Path:
    """Return the folder of rank records, empty: a scratch folder that was used before must not lend its ranks to this pod."""
    folder = config.scratch_dir / "ranks"
    for record in (*folder.glob("*/*.record*"), *folder.glob("*/peers.json*")):
        record.unlink()
    return folder
