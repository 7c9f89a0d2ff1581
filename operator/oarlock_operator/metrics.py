"""What the operator counts about itself.

This is the seam: the local cluster counts nothing and needs no Prometheus client; `prometheus_metrics` exports the same to
Prometheus.
"""

from collections.abc import Mapping

from oarlock_api.v1alpha1.status import Goodput
from oarlock_operator.reconcile.plans import Reference


class Metrics:
    """Takes all measurements and keeps none."""

    def count_reconcile(self, *, kind: str, result: str, seconds: float) -> None:
        """One key was observed, planned and applied; `result` is done, gone, conflict, unavailable or error."""

    def count_status_write(self, *, kind: str, result: str) -> None:
        """A status was written, found unchanged, deferred or refused by a conflict."""

    def count_error(self, *, where: str, error: BaseException) -> None:
        """Something failed that is tried again."""

    def count_request(self, *, verb: str, resource: str, code: str, seconds: float) -> None:
        """The API server answered a request; `code` is an HTTP status, or the kind of failure."""

    def count_watch(self, *, kind: str, what: str) -> None:
        """A watch brought an event, began anew, or was lost."""

    def count_pull(self, *, result: str) -> None:
        """An agent was asked for its status; `result` is new, same, unreachable or distrusted."""

    def count_repairs(self, *, kind: str, repairs: int) -> None:
        """A resync found differences between what is stored and what is there."""

    def count_decision(self, *, seconds: float) -> None:
        """The queue decided of all jobs."""

    def count_admission(self, *, seconds: float) -> None:
        """A job got a place after it had waited for so long."""

    def count_preemption(self) -> None:
        """A job gave its place to another one."""

    def show_waiting(self, jobs: int) -> None:
        """How many jobs wait for a place."""

    def show_queue(self, *, waiting: int, active: int) -> None:
        """Keys that wait for a worker, and those that have one."""

    def show_phases(self, phases: Mapping[tuple[str, str], int]) -> None:
        """How many objects there are of each kind and phase."""

    def show_leading(self, *, is_leading: bool) -> None:
        """Whether this operator is the one that writes."""

    def show_goodput(self, key: Reference, goodput: Goodput | None) -> None:
        """Where the time of a job went so far; None: the job is gone, or nothing is counted yet."""

    def show_lag(self, seconds: float) -> None:
        """How late the event loop runs what is due."""
