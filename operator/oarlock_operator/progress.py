"""Asking the agents how far training is: often while it moves, seldom while it does not, and never in anybody's way.

Rank 0's agent is asked as long as its pod runs; those of the other ranks only while they have something to say that rank 0 cannot
know: who is missing at the rendezvous, and who does not move. What an agent says is a hint. Every change of state follows from pods and their termination records; without an answer the
status says that progress is unknown, and nothing else happens.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from oarlock_api.contract import WorkerStatus
from oarlock_operator.clock import Clock
from oarlock_operator.cluster.port import Cluster, ClusterError
from oarlock_operator.keyed_queue import KeyedQueue
from oarlock_operator.metrics import Metrics
from oarlock_operator.names import TRAINER_CONTAINER
from oarlock_operator.observing import SeenPod
from oarlock_operator.policy.clocks import correct_status, measure_skew
from oarlock_operator.policy.rendezvous import has_joined
from oarlock_operator.reconcile.observed import WorkerReport
from oarlock_operator.reconcile.plans import Reference
from oarlock_operator.settings import Settings
from oarlock_operator.untrusted import Identity, Reading, read_worker_status

_log = logging.getLogger(__name__)

_PULLS_PER_SECOND = 100.0
"""Over all jobs: with many of them, each is asked less often."""
_GROWTH = 1.5
_WORKERS = 16
_MAX_PEERS = 64
"""Agents of one job, beside rank 0's, that are asked at the same time: those that have joined make room for the others."""
_LIVELY_INTERVALS = 2.0
"""Least intervals between two questions to a trainer that beats, though it makes no steps: so that a hang is heard of in time."""


class _Agent(NamedTuple):
    """Whom to ask."""

    key: Reference
    rank: int
    """Node rank; 0 for an import."""


@dataclass(slots=True)
class _Source:
    """One agent that is, or was, asked."""

    seen: SeenPod
    interval: float
    is_open: bool = True
    report: WorkerReport = field(default_factory=lambda: WorkerReport(status=None))
    note: str = ""


class Progress:
    """The latest reports. `changed(key, is_urgent)` is called when there is something new to plan with."""

    def __init__(
        self,
        cluster: Cluster,
        *,
        settings: Settings,
        clock: Clock,
        metrics: Metrics,
        changed: Callable[[Reference, bool], None],
    ) -> None:
        self._cluster, self._settings, self._clock, self._metrics = cluster, settings, clock, metrics
        self._changed = changed
        self._sources: dict[_Agent, _Source] = {}
        self._peers: dict[Reference, frozenset[int]] = {}
        """Ranks beside rank 0 that are followed."""
        self._queue: KeyedQueue[_Agent] = KeyedQueue(clock=clock)

    def follow(self, key: Reference, seen: SeenPod | None) -> None:
        """Ask the agent of this pod from now on, while it runs; None: there is none to ask."""
        if seen is None:
            self._sources.pop(_Agent(key, 0), None)
            self.follow_peers(key, ())
        else:
            self._open(_Agent(key, 0), seen, is_wanted=True, delay=0.0)

    def follow_peers(self, key: Reference, seen: Sequence[SeenPod], *, delay: float = 0.0) -> None:
        """Ask the agents of these pods too, the first time after `delay` seconds, and no others of this key.

        One that has joined is not asked again while others have not, and what it said is kept.
        """
        wanted = {each.pod.rank: each for each in seen}
        for rank in self._peers.pop(key, frozenset()) - wanted.keys():
            self._sources.pop(_Agent(key, rank), None)
        if not wanted:
            return
        self._peers[key] = frozenset(wanted)
        room = _MAX_PEERS
        for rank, each in sorted(wanted.items()):
            agent = _Agent(key, rank)
            is_wanted = room > 0 and not (delay and self._has_joined(agent))
            self._open(agent, each, is_wanted=is_wanted, delay=delay)
            room -= is_wanted

    def _has_joined(self, agent: _Agent) -> bool:
        source = self._sources.get(agent)
        return source is not None and source.report.status is not None and has_joined(source.report.status)

    def _open(self, agent: _Agent, seen: SeenPod, *, is_wanted: bool, delay: float) -> None:
        source = self._sources.get(agent)
        if source is None or source.seen.pod.uid != seen.pod.uid:
            source = self._sources[agent] = _Source(
                seen=seen, interval=self._settings.progress_min_seconds, is_open=False
            )
        was_open, source.is_open, source.seen = source.is_open, is_wanted and _is_open(seen), seen
        if source.is_open and not was_open:
            if delay:
                self._queue.add_at(agent, self._clock.now() + delay)
            else:
                self._queue.add(agent)

    @property
    def first_delay(self) -> float:
        """Seconds after which those are asked who are likely to need no question."""
        return self._settings.progress_min_seconds

    def report(self, key: Reference) -> WorkerReport | None:
        """Return what the agent of rank 0 said; None: it was never asked."""
        source = self._sources.get(_Agent(key, 0))
        return source.report if source else None

    def peer_reports(self, key: Reference) -> dict[int, WorkerReport]:
        """Return what the other agents that are followed said, by rank."""
        return {rank: self._sources[_Agent(key, rank)].report for rank in sorted(self._peers.get(key, ()))}

    async def run_timers(self) -> None:
        await self._queue.run_timers()

    async def run_worker(self) -> None:
        """Ask one agent after the other, for ever."""
        while True:
            async with self._queue.take() as agent:
                source = self._sources.get(agent)
                if source and source.is_open:
                    await self._pull_safely(agent.key, source)
                    self._queue.add_at(agent, self._clock.now() + self._spread(source.interval))

    @property
    def workers(self) -> int:
        return _WORKERS

    def _spread(self, interval: float) -> float:
        return max(interval, len(self._sources) / _PULLS_PER_SECOND)

    async def _pull_safely(self, key: Reference, source: _Source) -> None:
        try:
            await self._pull(key, source)
        except Exception as error:  # noqa: BLE001  # whatever an agent answers, the others are asked on
            self._metrics.count_error(where="progress", error=error)
            _log.exception("asking pod %s/%s failed", key.namespace, source.seen.pod.name)
            self._take_silence(key, source)

    async def _pull(self, key: Reference, source: _Source) -> None:
        pod = source.seen.pod
        try:
            content = await self._cluster.fetch_worker_status(_address(source.seen, key.namespace))
        except ClusterError:
            self._take_silence(key, source)
            return
        expected = Identity(job_uid=pod.owner_uid, attempt=pod.attempt, run_hash=pod.run_hash)
        reading = read_worker_status(content, expected=expected)
        if reading.value is None:
            self._distrust(key, source, reading)
        else:
            self._take(key, source, reading.value)

    def _take(self, key: Reference, source: _Source, status: WorkerStatus) -> None:
        before, now = source.report, self._clock.now()
        skew = measure_skew(status.time, before=before.skew, now=now)
        status = correct_status(status, skew)
        source.report, source.note = WorkerReport(status=status, answered=now, skew=skew), ""
        is_new = before.status is None or _pace(before.status) != _pace(status)
        is_lively = before.status is None or _last_beat(before.status) != _last_beat(status)
        source.interval = self._choose_interval(source.interval, is_new=is_new, is_lively=is_lively)
        self._metrics.count_pull(result="new" if is_new else "same")
        is_urgent = before.failing_since is not None or before.status is None or _state(before.status) != _state(status)
        if is_urgent or is_new:
            self._changed(key, is_urgent)

    def _take_silence(self, key: Reference, source: _Source, *, result: str = "unreachable") -> None:
        before = source.report
        failing_since = self._clock.now() if before.failing_since is None else before.failing_since
        source.report = replace(before, failing_since=failing_since)
        source.interval = self._slower(source.interval)
        self._metrics.count_pull(result=result)
        if before.failing_since is None:
            self._changed(key, True)

    def _distrust(self, key: Reference, source: _Source, reading: Reading[WorkerStatus]) -> None:
        if reading.note != source.note:
            source.note = reading.note
            _log.warning("pod %s/%s: %s", key.namespace, source.seen.pod.name, reading.note)
        self._take_silence(key, source, result="distrusted")

    def _choose_interval(self, interval: float, *, is_new: bool, is_lively: bool) -> float:
        least = self._settings.progress_min_seconds
        if is_new:
            return least
        return min(self._slower(interval), least * _LIVELY_INTERVALS) if is_lively else self._slower(interval)

    def _slower(self, interval: float) -> float:
        return min(interval * _GROWTH, self._settings.progress_max_seconds)


def _is_open(seen: SeenPod) -> bool:
    return seen.pod.phase == "Running" and bool(seen.pod.ip) and bool(seen.status_port)


def _pace(status: WorkerStatus) -> tuple[Any, ...]:
    """What changes while a job gets on."""
    facts = (status.phase, status.position, status.step, status.metrics, status.checkpoint_latest, status.warnings)
    return (*facts, status.level)


def _state(status: WorkerStatus) -> tuple[Any, ...]:
    """What a person waits for."""
    stalled = [(each["rank"], each["standing"], each.get("where")) for each in status.stalled]
    joined = (status.join or {}).get("state")
    return status.phase, status.retries, status.non_finite, status.warnings, status.notes, joined, stalled


def _last_beat(status: WorkerStatus) -> float:
    """Return when one of the ranks last gave a sign of progress, a step or not."""
    return max((float(rank.get("since", 0.0)) for rank in status.ranks), default=0.0)


def _address(seen: SeenPod, namespace: str) -> dict[str, Any]:
    """Return as much of the pod as it takes to find its agent."""
    port = {"name": "status", "containerPort": seen.status_port}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": seen.pod.name, "namespace": namespace, "uid": seen.pod.uid},
        "spec": {"containers": [{"name": TRAINER_CONTAINER, "ports": [port]}]},
        "status": {"phase": seen.pod.phase, "podIP": seen.pod.ip},
    }
