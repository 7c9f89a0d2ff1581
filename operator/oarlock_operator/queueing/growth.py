"""How far elastic jobs may grow in a budget, which no scheduler keeps: what nobody waits for is shared out, to the oldest first. Pure."""

from oarlock_operator.queueing.capacity import BUDGET
from oarlock_operator.queueing.jobs import QueuedJob
from oarlock_operator.queueing.pool import add_amounts, count_slots
from oarlock_operator.queueing.rounds import Round


def share_out(turns: Round) -> dict[str, int]:
    """Return how many pods each elastic job may have in all, by UID, once everybody in a round has had its turn.

    A job keeps what its attempt has. The pods with which it looks for more are its own only as long as there is room for them.
    """
    free, is_closed = _count_free(turns), BUDGET in turns.pool.closed
    most: dict[str, int] = {}
    for job in sorted(turns.admitted.values(), key=_age):
        if job.wanted:
            looking = max(0, min(job.pods, job.wanted) - job.settled)
            add_amounts(free, dict(job.needs), times=looking)
            room = 0 if is_closed else count_slots(free, job.needs)
            more = max(0, min(room, job.wanted - job.settled))
            add_amounts(free, dict(job.needs), times=-more)
            most[job.uid] = job.settled + more
    return most


def _count_free(turns: Round) -> dict[str, float]:
    """Return what is free and nobody's, less than nothing where jobs have more than there is."""
    free = dict(turns.pool.free[BUDGET])
    for job in turns.admitted.values():
        beyond = job.pods - turns.held[job.uid].get(BUDGET, 0)
        add_amounts(free, dict(job.needs), times=-beyond)
    return free


def _age(job: QueuedJob) -> tuple[float, str, str]:
    return job.created, job.title, job.uid
