"""One small memory-mapped file per rank, through which a training or importing process tells the agent how it is doing.

A beat costs microseconds and needs no lock between the processes. Each part of the record is kept twice and written in turn,
with a checksum: a reader never sees a torn value, and a writer that is SIGKILLed in the middle of a write leaves the value
before it. Standard library only, since both the agent and the ranks use it; it must never end a training run because of what
it was asked to report.
"""

import json
import mmap
import os
import struct
import threading
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from oarlock_api.contract import Failure, Outcome, PodPhase
from oarlock_api.record import Record
from oarlock_trainer.agent.procfs import read_age
from oarlock_trainer.stacks import offer_stacks, stack_path
from oarlock_trainer.startup import StartupClock

RANK_RECORD_DIR_ENV = "OARLOCK_RANK_RECORD_DIR"
"""Set by the agent for its child: the folder of this try's rank records."""

_PHASES = tuple(PodPhase)
# Magic, rank, pid, phase, beats, step, position (-1: none), time of the last beat.
_HEAD = struct.Struct("<4sIIIQqqd")
_MAGIC = b"OAR1"
# Sequence number, length and CRC-32 of the payload that follows.
_PREFIX = struct.Struct("<QII")
_HEAD_SLOT = 128
_REPORT_SLOT = 64 * 1024
_SIZE = 2 * (_HEAD_SLOT + _REPORT_SLOT)
_MAX_REPORT_BYTES = _REPORT_SLOT - _PREFIX.size
_READS = 100
"""A read that meets a write in both slots is repeated this often."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RankReading:
    """What a rank's record said at one moment."""

    rank: int
    """Global rank."""
    pid: int
    phase: PodPhase
    counter: int
    """Beats so far: a reader sees progress by watching it change on its own monotonic clock."""
    step: int | None
    position: int | None
    """Samples consumed since the start of the run, or files imported."""
    since: float
    """Seconds since 1970 of the last beat."""
    report: dict[str, Any] = field(default_factory=dict)
    """What `RankRecord.report` was given, by field name."""
    failure: Failure | None = None
    failed_at: float | None = None
    """Seconds since 1970; the earliest among the ranks failed first."""
    outcome: Outcome | None = None
    is_outside: bool = False
    """Whether the rank keeps no record, and this is what the agent sees of it."""


class _TwinSlots:
    """One part of the record, kept twice: the older copy is overwritten, the newer one stays readable meanwhile."""

    def __init__(self, memory: mmap.mmap, *, offset: int, size: int) -> None:
        self._memory, self._offset, self._size = memory, offset, size
        self._sequence = 0

    def write(self, payload: bytes) -> None:
        self._sequence += 1
        start = self._offset + (self._sequence % 2) * self._size
        prefix = _PREFIX.pack(self._sequence, len(payload), zlib.crc32(payload, self._sequence & 0xFFFFFFFF))
        slot = prefix + payload
        self._memory[start : start + len(slot)] = slot


def _read_slots(memory: bytes, *, offset: int, size: int) -> bytes | None:
    """Return the newest intact payload, or None if neither copy is."""
    newest, payload = 0, None
    for start in (offset, offset + size):
        sequence, length, checksum = _PREFIX.unpack_from(memory, start)
        content = memory[start + _PREFIX.size : start + _PREFIX.size + min(length, size)]
        if sequence > newest and zlib.crc32(content, sequence & 0xFFFFFFFF) == checksum:
            newest, payload = sequence, content
    return payload


class RankRecord:
    """The writer's side, in the training or importing process. Safe to use from several threads."""

    def __init__(self, memory: mmap.mmap, *, rank: int) -> None:
        self._lock = threading.RLock()
        self._memory = memory
        self._head = _TwinSlots(memory, offset=0, size=_HEAD_SLOT)
        self._body = _TwinSlots(memory, offset=2 * _HEAD_SLOT, size=_REPORT_SLOT)
        self._rank, self._pid = rank, os.getpid()
        self._counter = -1
        self._step = self._position = -1
        self._facts: dict[str, Any] = {}
        self._ending: dict[str, Any] = {}
        self._startup = StartupClock(now=time.monotonic(), age=read_age(self._pid))
        self._write_body()
        self.beat(PodPhase.STARTING)

    @classmethod
    def create(cls, path: Path, *, rank: int) -> Self:
        """Create the record at `path`, replacing one that is there; readers see it complete or not at all.

        Raises:
            OSError: if the folder cannot be written or is full.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(path.name + ".new")
        with unfinished.open("w+b") as file:
            # Reserved now: a write to memory that a full disk cannot back would end the process with SIGBUS.
            os.posix_fallocate(file.fileno(), 0, _SIZE)
            record = cls(mmap.mmap(file.fileno(), _SIZE), rank=rank)
        unfinished.replace(path)
        return record

    @classmethod
    def from_environment(cls) -> Self:
        """Create the record that the agent asked for, or one in memory when there is no agent (torchrun by hand).

        Under an agent, this process also tells it on request where it is: see `stacks`.
        """
        rank = int(os.environ.get("RANK", "0"))
        folder = os.environ.get(RANK_RECORD_DIR_ENV)
        if not folder:
            return cls(mmap.mmap(-1, _SIZE), rank=rank)
        path = rank_record_path(Path(folder), os.environ.get("LOCAL_RANK", "0"))
        record = cls.create(path, rank=rank)
        offer_stacks(stack_path(path))
        return record

    def beat(self, phase: PodPhase, *, step: int | None = None, position: int | None = None) -> None:
        """Give a sign of progress in `phase`; a step or position that is not given stays as it was."""
        with self._lock:
            self._counter += 1
            self._step = self._step if step is None else step
            self._position = self._position if position is None else position
            self._head.write(
                _HEAD.pack(
                    _MAGIC,
                    self._rank,
                    self._pid,
                    _PHASES.index(phase),
                    self._counter,
                    self._step,
                    self._position,
                    time.time(),
                )
            )
            if self._startup.note(phase, time.monotonic(), step=step):
                self._facts["startup_seconds"] = {name: round(took, 3) for name, took in self._startup.seconds.items()}

    def report(self, **facts: Any) -> None:
        """Merge facts into the report, by field names of `WorkerStatus` and `TerminationRecord`.

        Values are JSON, contract records or numpy scalars. What does not fit in 64 KiB together is left out, largest first.
        """
        with self._lock:
            self._facts.update({name: _plain(value) for name, value in facts.items()})
            self._write_body()

    def fail(self, failure: Failure) -> None:
        """Record why this rank ends. The first failure stays."""
        with self._lock:
            if not self._ending:
                self._ending = {"failure": failure.to_wire(), "failed_at": time.time(), "outcome": Outcome.FAILED}
                self._write_body()

    def finish(self, outcome: Outcome) -> None:
        """Record how this rank ends. A failure that is recorded already stays."""
        with self._lock:
            if not self._ending:
                self._ending = {"outcome": outcome}
                self._write_body()

    def _write_body(self) -> None:
        facts = dict(self._facts)
        while len(content := json.dumps({"facts": facts, **self._ending}).encode()) > _MAX_REPORT_BYTES:
            largest = max(facts, key=lambda name: len(json.dumps(facts[name])), default=None)
            if largest is None:  # only the failure is left: keep the end of its text
                self._ending["failure"] = _clip(self._ending["failure"])
                continue
            del facts[largest]
        self._body.write(content)


def rank_record_path(folder: Path, local_rank: int | str) -> Path:
    """Return where the record of a local rank is within the folder of one try."""
    return folder / f"{local_rank}.record"


def read_rank_record(path: Path) -> RankReading | None:
    """Return what the record says, or None if there is none that can be read."""
    for _ in range(_READS):
        try:
            memory = path.read_bytes()
        except OSError:
            return None
        if len(memory) != _SIZE:
            return None
        head = _read_slots(memory, offset=0, size=_HEAD_SLOT)
        body = _read_slots(memory, offset=2 * _HEAD_SLOT, size=_REPORT_SLOT)
        if head is not None and body is not None:
            return _parse(head, body)
    return None


def _parse(head: bytes, body: bytes) -> RankReading | None:
    magic, rank, pid, phase, counter, step, position, since = _HEAD.unpack(head)
    if magic != _MAGIC or phase >= len(_PHASES):
        return None
    wire = json.loads(body)
    return RankReading(
        rank=rank,
        pid=pid,
        phase=_PHASES[phase],
        counter=counter,
        step=None if step < 0 else step,
        position=None if position < 0 else position,
        since=since,
        report=wire["facts"],
        failure=Failure.from_wire(wire["failure"]) if "failure" in wire else None,
        failed_at=wire.get("failed_at"),
        outcome=Outcome(wire["outcome"]) if "outcome" in wire else None,
    )


def _plain(value: Any) -> Any:
    """Return the value as JSON; what has no JSON form becomes its text, since a report must never end a run."""
    if isinstance(value, Record):
        return _plain(value.to_wire())
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, str | bool | int | float):
        return value
    to_plain = getattr(value, "tolist", None)  # arrays, tensors and their scalars
    return _plain(to_plain()) if callable(to_plain) else str(value)


def _clip(failure: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value[-1000:] if isinstance(value, str) else value for key, value in failure.items()}
