"""What the agent answers on /status: the pod's state, put together from its ranks' records.

The board is the one value that the main loop and the server's threads share; the main loop replaces it, nobody changes it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from oarlock_api.contract import MAX_STATUS_BYTES, JoinStatus, PodPhase, RankStatus, StalledRank, WorkerStatus
from oarlock_trainer.agent.config import AgentConfig
from oarlock_trainer.agent.progress import Progress
from oarlock_trainer.rank_record import RankReading

_MAX_WARNINGS = 20
_MAX_WARNING_CHARACTERS = 500


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    """The pod at one moment."""

    phase: PodPhase
    phase_since: float
    """Seconds since 1970."""
    progress: Progress = field(default_factory=Progress)
    readings: Mapping[int, RankReading] = field(default_factory=dict)
    resident_bytes: Mapping[int, int] = field(default_factory=dict)
    """By local rank."""
    retries: int = 0
    join: JoinStatus | None = None
    stalled: tuple[StalledRank, ...] = ()
    warnings: tuple[str, ...] = ()


class Board:
    """Holds the newest snapshot. Assignment of one attribute is atomic, so readers need no lock."""

    def __init__(self, *, now: float) -> None:
        self.snapshot = Snapshot(phase=PodPhase.STARTING, phase_since=now)
        self.ticked_at: float | None = None
        """Monotonic time of the main loop's last round: how /healthz knows that it is alive."""

    def show(self, *, phase: PodPhase, now: float, **changes: Any) -> None:
        since = self.snapshot.phase_since if phase is self.snapshot.phase else now
        self.snapshot = replace(self.snapshot, phase=phase, phase_since=since, **changes)


def build_worker_status(config: AgentConfig, snapshot: Snapshot) -> WorkerStatus:
    """Build the answer of /status."""
    progress = snapshot.progress
    in_flight = progress.report.get("checkpoint_in_flight")
    return WorkerStatus(
        job_uid=config.job_uid,
        run_hash=config.run_hash,
        attempt=config.attempt,
        node=config.node,
        phase=snapshot.phase,
        phase_since=snapshot.phase_since,
        position=progress.position,
        step=progress.step,
        steps=int(progress.number("steps")),
        epoch=progress.number("epoch"),
        epochs=progress.number("epochs"),
        eta_seconds=progress.number("eta_seconds") if progress.report.get("eta_seconds") is not None else None,
        metrics=progress.metrics,
        non_finite=progress.non_finite,
        checkpoint_latest=progress.record("checkpoint_latest"),
        checkpoint_best=progress.record("checkpoint_best"),
        checkpoint_in_flight=None if in_flight is None else int(in_flight),
        ranks=[_build_rank(snapshot, local_rank).to_wire() for local_rank in sorted(snapshot.readings)],
        retries=snapshot.retries,
        join=snapshot.join.to_wire() if snapshot.join else None,
        stalled=[stalled.to_wire() for stalled in snapshot.stalled],
        warnings=list_warnings(snapshot),
        notes=progress.notes[-_MAX_WARNINGS:],
        level=str(progress.report.get("level") or ""),
        activity=progress.record("activity"),
    )


def build_status_json(config: AgentConfig, snapshot: Snapshot, *, now: float) -> str:
    """Return /status as JSON at the time `now`, in seconds since 1970, within the size that the operator reads."""
    status = replace(build_worker_status(config, snapshot), time=now)
    while len((text := status.to_json()).encode()) > MAX_STATUS_BYTES and (status.warnings or status.ranks):
        status = replace(
            status, warnings=[], ranks=status.ranks[: len(status.ranks) // 2] if not status.warnings else status.ranks
        )
    return text


def list_warnings(snapshot: Snapshot) -> list[str]:
    """Return the ranks' and the agent's warnings, each once, the newest last."""
    warnings = dict.fromkeys([*snapshot.progress.warnings, *snapshot.warnings])
    return [warning[:_MAX_WARNING_CHARACTERS] for warning in warnings][-_MAX_WARNINGS:]


def _build_rank(snapshot: Snapshot, local_rank: int) -> RankStatus:
    reading = snapshot.readings[local_rank]
    return RankStatus(
        rank=reading.rank,
        pid=reading.pid,
        phase=reading.phase,
        step=reading.step or 0,
        since=reading.since,
        rss=snapshot.resident_bytes.get(local_rank, 0),
    )
