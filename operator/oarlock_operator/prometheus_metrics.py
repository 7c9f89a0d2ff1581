"""The operator's own metrics, for Prometheus: `oarlock_operator_*`.

Labels are kinds, verbs and results; only the goodput of a job names it, and goes when the job goes.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    start_http_server,
)
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from oarlock_api.v1alpha1.status import Goodput
from oarlock_operator.metrics import Metrics
from oarlock_operator.policy.goodput import TRAINING
from oarlock_operator.reconcile.plans import Reference

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

_WAITS = (1.0, 10.0, 60.0, 300.0, 900.0, 3600.0, 4 * 3600.0, 12 * 3600.0, 24 * 3600.0, 3 * 86400.0, 7 * 86400.0)
_SCRAPER_SECONDS = 5.0
"""Longest silence of somebody who is about to ask for metrics."""


class PrometheusMetrics(Metrics):
    """Keeps all measurements in one registry."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        self._reconciles = Histogram(
            "oarlock_operator_reconcile_seconds",
            "Time to observe, plan and apply for one object, by result.",
            ("kind", "result"),
            buckets=_SECONDS,
            registry=registry,
        )
        self._requests = Histogram(
            "oarlock_operator_api_request_seconds",
            "Time that requests to the API server took; for watches, how long they lasted.",
            ("verb", "resource", "code"),
            buckets=_SECONDS,
            registry=registry,
        )
        self._status_writes = self._count("status_writes", "Writes of statuses, by result.", "kind", "result")
        self._errors = self._count("errors", "Failures that are tried again.", "where", "type")
        self._watches = self._count("watch_events", "What watches brought.", "kind", "event")
        self._pulls = self._count("progress_pulls", "Questions to trainers, by result.", "result")
        self._repairs = self._count("resync_repairs", "Differences that a comparison found.", "kind")
        self._waits = Histogram(
            "oarlock_operator_queue_wait_seconds",
            "How long jobs waited for a place.",
            buckets=_WAITS,
            registry=registry,
        )
        self._decisions = Histogram(
            "oarlock_operator_queue_decision_seconds",
            "Time that the queue takes to decide of all jobs.",
            buckets=_SECONDS,
            registry=registry,
        )
        self._preemptions = self._count("queue_preemptions", "Jobs that gave their place to one of a higher priority.")
        self._queued = self._show("queue_waiting_jobs", "Jobs that wait for a place.")
        self._waiting = self._show("queue_depth", "Objects that wait to be reconciled.")
        self._active = self._show("reconciles_active", "Objects that are being reconciled.")
        self._phases = self._show("objects", "Datasets and TrainingJobs, by phase.", "kind", "phase")
        self._leading = self._show("leading", "1 while this operator is the one that writes.")
        self._goodput = _GoodputCollector()
        registry.register(self._goodput)
        self._lag = self._show("event_loop_lag_seconds", "How late the event loop runs what is due.")

    def serve(self, port: int) -> None:
        """Answer scrapes from a thread of its own; port 0: not at all."""
        if port:
            server, _ = start_http_server(port, registry=self.registry)
            # As it comes, the server waits for ever, in a thread each, for those who connect and ask nothing.
            handler: Any = server.RequestHandlerClass
            server.RequestHandlerClass = type("Handler", (handler,), {"timeout": _SCRAPER_SECONDS})

    def count_reconcile(self, *, kind: str, result: str, seconds: float) -> None:
        self._reconciles.labels(kind, result).observe(seconds)

    def count_status_write(self, *, kind: str, result: str) -> None:
        self._status_writes.labels(kind, result).inc()

    def count_error(self, *, where: str, error: BaseException) -> None:
        self._errors.labels(where, type(error).__name__).inc()

    def count_request(self, *, verb: str, resource: str, code: str, seconds: float) -> None:
        self._requests.labels(verb, resource, code).observe(seconds)

    def count_watch(self, *, kind: str, what: str) -> None:
        self._watches.labels(kind, what).inc()

    def count_pull(self, *, result: str) -> None:
        self._pulls.labels(result).inc()

    def count_repairs(self, *, kind: str, repairs: int) -> None:
        self._repairs.labels(kind).inc(repairs)

    def count_decision(self, *, seconds: float) -> None:
        self._decisions.observe(seconds)

    def count_admission(self, *, seconds: float) -> None:
        self._waits.observe(seconds)

    def count_preemption(self) -> None:
        self._preemptions.inc()

    def show_waiting(self, jobs: int) -> None:
        self._queued.set(jobs)

    def show_queue(self, *, waiting: int, active: int) -> None:
        self._waiting.set(waiting)
        self._active.set(active)

    def show_phases(self, phases: Mapping[tuple[str, str], int]) -> None:
        self._phases.clear()
        for (kind, phase), number in phases.items():
            self._phases.labels(kind, phase or "None").set(number)

    def show_leading(self, *, is_leading: bool) -> None:
        self._leading.set(is_leading)

    def show_goodput(self, key: Reference, goodput: Goodput | None) -> None:
        self._goodput.show(key, goodput)

    def show_lag(self, seconds: float) -> None:
        self._lag.set(seconds)

    def _count(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"oarlock_operator_{name}", text, labels, registry=self.registry)

    def _show(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"oarlock_operator_{name}", text, labels, registry=self.registry)


@dataclass(frozen=True, slots=True)
class _Spent:
    """One series of a job, in both its units."""

    phase: str
    cause: str
    seconds: float
    gpu_hours: float


class _GoodputCollector(Collector):
    """Shows the sums of the statuses as they are: so they go on where they were when the operator is started again."""

    def __init__(self) -> None:
        self._spent: dict[Reference, tuple[_Spent, ...]] = {}

    def show(self, key: Reference, goodput: Goodput | None) -> None:
        if goodput is None:
            self._spent.pop(key, None)
        else:
            self._spent[key] = tuple(_list_spent(goodput))

    def collect(self) -> Iterator[CounterMetricFamily]:
        labels = ("namespace", "job", "phase", "cause")
        seconds = CounterMetricFamily(
            "oarlock_operator_job_phase_seconds",
            "Where the time of a job went: training that lasts, and losses by phase and cause.",
            labels=labels,
        )
        hours = CounterMetricFamily(
            "oarlock_operator_job_gpu_hours", "Hours of the GPUs that the pods of a job held.", labels=labels
        )
        for key, series in list(self._spent.items()):  # a scrape runs in a thread of its own
            for spent in series:
                values = (key.namespace, key.name, spent.phase, spent.cause)
                seconds.add_metric(values, spent.seconds)
                hours.add_metric(values, spent.gpu_hours)
        yield seconds
        yield hours


def _list_spent(goodput: Goodput) -> Iterator[_Spent]:
    # Training that no checkpoint holds yet may still be lost, and a counter never goes back.
    yield _Spent(TRAINING, "", goodput.training_seconds, goodput.gpu_hours.training)
    for loss in goodput.losses:
        yield _Spent(loss.phase, loss.cause, loss.seconds, loss.gpu_hours)
