"""Which jobs give their place to one of a higher priority: the fewest, then the lowest, then the youngest. Pure.

Nobody is preempted in vain: without victims that let the job in, there are none.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence

from oarlock_operator.queueing.jobs import Needs, QueuedJob
from oarlock_operator.queueing.pool import Pool, Release, add_amounts, count_slots


class _Tally:
    """Slots on some nodes, as victims come and go."""

    def __init__(self, pool: Pool, nodes: Sequence[str], needs: Needs) -> None:
        self._needs = needs
        self._gives: dict[str, list[Release]] = defaultdict(list)
        self._free = {node: dict(pool.free[node]) for node in nodes if node not in pool.closed}
        for release in pool.releases:
            if release.is_leaving and release.node in self._free:
                add_amounts(self._free[release.node], release.amounts)
            elif release.node in self._free:
                self._gives[release.owner].append(release)
        self._slots = {node: count_slots(free, needs) for node, free in self._free.items()}
        self.total = sum(self._slots.values())

    def add(self, victim: QueuedJob, *, times: int = 1) -> None:
        """Count what a victim gives back, but for what is reserved already for a job that had its turn before."""
        for release in self._gives[victim.uid]:
            add_amounts(self._free[release.node], release.amounts, times=times)
            slots = count_slots(self._free[release.node], self._needs)
            self.total += slots - self._slots[release.node]
            self._slots[release.node] = slots

    def concerns(self, victim: QueuedJob) -> bool:
        wanted = {resource for resource, _ in self._needs}
        given = (release.amounts.items() for release in self._gives[victim.uid])
        return any(resource in wanted and amount > 0 for amounts in given for resource, amount in amounts)


def choose_victims(
    job: QueuedJob, admitted: Iterable[QueuedJob], *, pool: Pool, nodes: Sequence[str]
) -> list[QueuedJob]:
    """Return the jobs to preempt so that `job` finds room on `nodes`; none if that cannot be reached.

    Args:
        job: who needs room.
        admitted: jobs that hold room.
        pool: what is free besides, and what each of them gives back where.
        nodes: those that the pods of `job` may use.
    """
    lower = [each for each in admitted if each.may_be_preempted and each.priority < job.priority]
    tally = _Tally(pool, nodes, job.needs)
    useful = [each for each in sorted(lower, key=_preference) if tally.concerns(each)]
    for each in useful:
        tally.add(each)
        is_enough = tally.total >= job.fewest
        tally.add(each, times=-1)
        if is_enough:
            return [each]
    return _choose_several(job, useful, tally)


def _choose_several(job: QueuedJob, useful: Sequence[QueuedJob], tally: _Tally) -> list[QueuedJob]:
    chosen: list[QueuedJob] = []
    for each in useful:
        if tally.total >= job.fewest:
            break
        tally.add(each)
        chosen.append(each)
    if tally.total < job.fewest:
        return []
    for each in reversed(chosen):  # the highest and oldest are spared first
        tally.add(each, times=-1)
        if tally.total >= job.fewest:
            chosen = [other for other in chosen if other is not each]
        else:
            tally.add(each)
    return chosen


def _preference(job: QueuedJob) -> tuple[int, float, str, str]:
    return job.priority, -job.created, job.title, job.uid
