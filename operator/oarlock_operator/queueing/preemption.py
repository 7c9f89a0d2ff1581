"""Which jobs give their place to one of a higher priority: the fewest, then the lowest, then the youngest. Pure.

Nobody is preempted in vain: without victims that let the job in, there are none.
"""

from collections.abc import Iterable, Mapping, Sequence

from oarlock_operator.queueing.jobs import Needs, QueuedJob
from oarlock_operator.queueing.pool import Pool, Room, add_amounts, count_slots


class _Tally:
    """Slots on some nodes, as victims come and go."""

    def __init__(self, pool: Pool, nodes: Sequence[str], needs: Needs) -> None:
        self._needs = needs
        self._free = {node: dict(pool.free[node]) for node in nodes if node not in pool.closed}
        for release in pool.releases:
            if release.is_leaving and release.node in self._free:
                add_amounts(self._free[release.node], release.amounts)
        self._slots = {node: count_slots(free, needs) for node, free in self._free.items()}
        self.total = sum(self._slots.values())

    def add(self, victim: QueuedJob, room: Room, *, times: int = 1) -> None:
        for node, pods in room.items():
            if node in self._free:
                add_amounts(self._free[node], dict(victim.needs), times=pods * times)
                slots = count_slots(self._free[node], self._needs)
                self.total += slots - self._slots[node]
                self._slots[node] = slots

    def concerns(self, victim: QueuedJob, room: Room) -> bool:
        wanted = {resource for resource, _ in self._needs}
        return any(node in self._free for node in room) and any(resource in wanted for resource, _ in victim.needs)


def choose_victims(
    job: QueuedJob, admitted: Iterable[QueuedJob], held: Mapping[str, Room], *, pool: Pool, nodes: Sequence[str]
) -> list[QueuedJob]:
    """Return the jobs to preempt so that `job` finds room on `nodes`; none if that cannot be reached.

    Args:
        job: who needs room.
        admitted: jobs that hold room.
        held: where they hold it, by UID.
        pool: what is free besides.
        nodes: those that the pods of `job` may use.
    """
    lower = [each for each in admitted if each.may_be_preempted and each.priority < job.priority and each.uid in held]
    tally = _Tally(pool, nodes, job.needs)
    useful = [each for each in sorted(lower, key=_preference) if tally.concerns(each, held[each.uid])]
    for each in useful:
        tally.add(each, held[each.uid])
        is_enough = tally.total >= job.fewest
        tally.add(each, held[each.uid], times=-1)
        if is_enough:
            return [each]
    return _choose_several(job, useful, held, tally)


def _choose_several(
    job: QueuedJob, useful: Sequence[QueuedJob], held: Mapping[str, Room], tally: _Tally
) -> list[QueuedJob]:
    chosen: list[QueuedJob] = []
    for each in useful:
        if tally.total >= job.fewest:
            break
        tally.add(each, held[each.uid])
        chosen.append(each)
    if tally.total < job.fewest:
        return []
    for each in reversed(chosen):  # the highest and oldest are spared first
        tally.add(each, held[each.uid], times=-1)
        if tally.total >= job.fewest:
            chosen = [other for other in chosen if other is not each]
        else:
            tally.add(each, held[each.uid])
    return chosen


def _preference(job: QueuedJob) -> tuple[int, float, str, str]:
    return job.priority, -job.created, job.title, job.uid
