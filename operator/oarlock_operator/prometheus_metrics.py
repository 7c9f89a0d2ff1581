"""The operator's own metrics, for Prometheus: `oarlock_operator_*`. Labels are kinds, verbs and results, never names."""

from collections.abc import Mapping

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    start_http_server,
)

from oarlock_operator.metrics import Metrics

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


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
        self._waiting = self._show("queue_depth", "Objects that wait to be reconciled.")
        self._active = self._show("reconciles_active", "Objects that are being reconciled.")
        self._phases = self._show("objects", "Datasets and TrainingJobs, by phase.", "kind", "phase")
        self._lag = self._show("event_loop_lag_seconds", "How late the event loop runs what is due.")

    def serve(self, port: int) -> None:
        """Answer scrapes from a thread of its own; port 0: not at all."""
        if port:
            start_http_server(port, registry=self.registry)

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

    def show_queue(self, *, waiting: int, active: int) -> None:
        self._waiting.set(waiting)
        self._active.set(active)

    def show_phases(self, phases: Mapping[tuple[str, str], int]) -> None:
        self._phases.clear()
        for (kind, phase), number in phases.items():
            self._phases.labels(kind, phase or "None").set(number)

    def show_lag(self, seconds: float) -> None:
        self._lag.set(seconds)

    def _count(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"oarlock_operator_{name}", text, labels, registry=self.registry)

    def _show(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"oarlock_operator_{name}", text, labels, registry=self.registry)
