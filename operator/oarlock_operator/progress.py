"""Asking the agents how far training is: often while it moves, seldom while it does not, and never in anybody's way.

What an agent says is a hint. Every change of state follows from pods and their termination records; without an answer the
status says that progress is unknown, and nothing else happens.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from oarlock_api.contract import WorkerStatus
from oarlock_operator.clock import Clock
from oarlock_operator.cluster.port import Cluster, ClusterError
from oarlock_operator.keyed_queue import KeyedQueue
from oarlock_operator.metrics import Metrics
from oarlock_operator.names import TRAINER_CONTAINER
from oarlock_operator.observing import SeenPod
from oarlock_operator.reconcile.observed import WorkerReport
from oarlock_operator.reconcile.plans import Reference
from oarlock_operator.settings import Settings
from oarlock_operator.untrusted import Identity, Reading, read_worker_status

_log = logging.getLogger(__name__)

_PULLS_PER_SECOND = 100.0
"""Over all jobs: with many of them, each is asked less often."""
_GROWTH = 1.5
_WORKERS = 16


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
        self._sources: dict[Reference, _Source] = {}
        self._queue: KeyedQueue[Reference] = KeyedQueue(clock=clock)

    def follow(self, key: Reference, seen: SeenPod | None) -> None:
        """Ask the agent of this pod from now on, while it runs; None: there is none to ask."""
        if seen is None:
            self._sources.pop(key, None)
            return
        source = self._sources.get(key)
        if source is None or source.seen.pod.uid != seen.pod.uid:
            source = self._sources[key] = _Source(
                seen=seen, interval=self._settings.progress_min_seconds, is_open=False
            )
        was_open, source.is_open, source.seen = source.is_open, _is_open(seen), seen
        if source.is_open and not was_open:
            self._queue.add(key)

    def report(self, key: Reference) -> WorkerReport | None:
        """Return what the agent said; None: none was ever asked."""
        source = self._sources.get(key)
        return source.report if source else None

    async def run_timers(self) -> None:
        await self._queue.run_timers()

    async def run_worker(self) -> None:
        """Ask one agent after the other, for ever."""
        while True:
            async with self._queue.take() as key:
                source = self._sources.get(key)
                if source and source.is_open:
                    await self._pull_safely(key, source)
                    self._queue.add_at(key, self._clock.now() + self._spread(source.interval))

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
        source.report, source.note = WorkerReport(status=status, answered=now), ""
        is_new = before.status is None or _pace(before.status) != _pace(status)
        source.interval = self._settings.progress_min_seconds if is_new else self._slower(source.interval)
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

    def _slower(self, interval: float) -> float:
        return min(interval * _GROWTH, self._settings.progress_max_seconds)


def _is_open(seen: SeenPod) -> bool:
    return seen.pod.phase == "Running" and bool(seen.pod.ip) and bool(seen.status_port)


def _pace(status: WorkerStatus) -> tuple[Any, ...]:
    """What changes while a job gets on."""
    return status.phase, status.position, status.step, status.metrics, status.checkpoint_latest, status.warnings


def _state(status: WorkerStatus) -> tuple[Any, ...]:
    """What a person waits for."""
    return status.phase, status.retries, status.non_finite, status.warnings


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
