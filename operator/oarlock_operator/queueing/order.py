"""Whose turn it is: by priority, then fair share between namespaces, then age. Pure.

A namespace is charged for each of its jobs when that has had its turn, whether it got in or not, so that namespaces take
turns in the queue as well. Whoever has waited long goes before all of that within its priority: a namespace that always
has a small share must not keep the others out for ever.
"""

import heapq
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping

from oarlock_operator.queueing.jobs import QueuedJob

PATIENCE_SECONDS = 6 * 3600.0
"""Seconds after which age counts more than fair share."""


class Shares:
    """What each namespace has of everything: the largest of its shares of the resources."""

    def __init__(self, totals: Mapping[str, float]) -> None:
        self._totals = totals
        self._used: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))

    def charge(self, job: QueuedJob) -> None:
        for resource, amount in job.needs:
            self._used[job.namespace][resource] += job.pods * amount

    def share(self, namespace: str) -> float:
        used = self._used.get(namespace, {})
        return max((amount / max(self._totals.get(name, 0.0), 1.0) for name, amount in used.items()), default=0.0)


def order_jobs(waiting: Iterable[QueuedJob], shares: Shares, *, now: float) -> Iterator[QueuedJob]:
    """Yield the jobs that wait, first who goes first."""
    levels: dict[int, list[QueuedJob]] = defaultdict(list)
    for job in waiting:
        levels[job.priority].append(job)
    for priority in sorted(levels, reverse=True):
        patient = [job for job in levels[priority] if now - job.since >= PATIENCE_SECONDS]
        for job in sorted(patient, key=_age):
            shares.charge(job)
            yield job
        known = {job.uid for job in patient}
        yield from _take_turns((job for job in levels[priority] if job.uid not in known), shares)


def _take_turns(jobs: Iterable[QueuedJob], shares: Shares) -> Iterator[QueuedJob]:
    lines: dict[str, deque[QueuedJob]] = defaultdict(deque)
    for job in sorted(jobs, key=_age):
        lines[job.namespace].append(job)
    heap = [(shares.share(name), _age(line[0]), name) for name, line in lines.items()]
    heapq.heapify(heap)
    while heap:
        name = heapq.heappop(heap)[2]
        line = lines[name]
        job = line.popleft()
        shares.charge(job)
        yield job
        if line:
            heapq.heappush(heap, (shares.share(name), _age(line[0]), name))


def _age(job: QueuedJob) -> tuple[float, str, str]:
    return job.created, job.title, job.uid
