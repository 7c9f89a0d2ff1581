"""Who may start, decided over all jobs at once: read `admit` from top to bottom. Pure: no I/O, no clock.

All pods of a job or none. Whoever holds a place keeps it, unless a job of a higher priority preempts it. The others have their
turn in one order. Who does not fit and is the first to want its nodes keeps a reservation there, so that others go ahead of it
only with what it will not need.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace

from oarlock_operator.queueing.capacity import Capacity
from oarlock_operator.queueing.jobs import QueuedJob
from oarlock_operator.queueing.order import Shares, order_jobs
from oarlock_operator.queueing.pool import build_pool
from oarlock_operator.queueing.rounds import Round
from oarlock_operator.queueing.telling import tell_admitted, tell_preempted, tell_waiting
from oarlock_operator.queueing.verdicts import Verdict


def admit(jobs: Iterable[QueuedJob], capacity: Capacity, *, now: float) -> dict[str, Verdict]:
    """Decide of every job whether it may have pods.

    Args:
        jobs: those that hold a place, and those that wait for one.
        capacity: what there is to give out.
        now: seconds since 1970.

    Returns:
        The verdict on each job, by UID.
    """
    # The same verdicts, in whatever order jobs and nodes are named.
    everybody = sorted(jobs, key=lambda job: job.uid)
    capacity = replace(capacity, nodes=tuple(sorted(capacity.nodes, key=lambda node: node.name)))
    turns = Round(capacity=capacity, now=now, pool=build_pool(capacity))
    turns.hold_all([job for job in everybody if job.is_admitted])
    shares = Shares(_count_totals(capacity))
    for job in turns.admitted.values():
        shares.charge(job)
    for job in order_jobs((job for job in everybody if not job.is_admitted), shares, now=now):
        take_turn(job, turns)
    return {**tell_admitted(turns), **tell_preempted(turns), **tell_waiting(turns)}


def take_turn(job: QueuedJob, turns: Round) -> None:
    """Let a job in, or note what it waits for."""
    if turns.let_in(job):
        return
    if not turns.could_ever_fit(job):
        turns.wait(job, "NoSuchNodes")
    elif start := turns.wait_for_ending(job):
        turns.wait(job, "PlaceBeingFreed", start)
    else:
        turns.wait(job, "WaitingForCapacity", turns.claim(job))


def _count_totals(capacity: Capacity) -> dict[str, float]:
    totals: dict[str, float] = defaultdict(float)
    for node in capacity.nodes:
        for resource, amount in node.allocatable.items() if node.is_ready else ():
            totals[resource] += amount
    return totals
