"""From a round of the queue to what each job is told. Pure."""

from collections.abc import Mapping, Sequence

from oarlock_operator.queueing.growth import share_out
from oarlock_operator.queueing.jobs import QueuedJob
from oarlock_operator.queueing.pool import Pool, build_pool, count_slots
from oarlock_operator.queueing.rounds import Round, Waiting
from oarlock_operator.queueing.verdicts import Stand, Verdict
from oarlock_operator.queueing.wording import (
    describe_budget,
    describe_free,
    describe_needs,
    describe_place,
    explain_misfit,
    ordinal,
)

_MOST_FORECASTS = 32
"""Jobs that wait whose start is estimated: what is further back is a guess about guesses."""


def tell_admitted(turns: Round) -> dict[str, Verdict]:
    """Return the verdict on each job that has a place, by UID."""
    most = share_out(turns) if turns.capacity.is_budget else {}
    return {
        uid: Verdict(
            stand=Stand.ADMITTED,
            reason="Admitted",
            message=f"has {describe_needs(job)}",
            nodes=tuple(node for node, pods in turns.held[uid].items() for _ in range(pods)),
            most=most.get(uid),
        )
        for uid, job in turns.admitted.items()
    }


def tell_preempted(turns: Round) -> dict[str, Verdict]:
    """Return the verdict on each job that gives its place to another, by UID."""
    return {
        uid: Verdict(
            stand=Stand.PREEMPTED,
            reason="Preempted",
            message=f"preempted by job {winner.title} of priority {winner.priority}",
            preempted_by=winner.uid,
            winner=winner.title,
        )
        for uid, winner in turns.preempted.items()
    }


def tell_waiting(turns: Round) -> dict[str, Verdict]:
    """Return the verdict on each job that waits, by UID."""
    facts = _Facts(turns)
    return {
        each.job.uid: _tell(each, turns, facts, expected_start=_estimate(each, turns, index))
        for index, each in enumerate(turns.waiting)
    }


def _count_free(turns: Round) -> Pool:
    """Return what is really free, reserved or not."""
    pool = build_pool(turns.capacity)
    for uid, room in turns.held.items():
        job = turns.admitted.get(uid) or turns.losers[uid]
        for node, pods in room.items():
            pool.take(node, job.needs, pods)
    return pool


def _estimate(each: Waiting, turns: Round, index: int) -> float | None:
    """Return when a job is expected to start, after those before it."""
    if each.start or each.reason == "NoSuchNodes":
        return each.start.time if each.start else None
    if index >= _MOST_FORECASTS:
        return None
    job = each.job
    start = turns.pool.find_start(turns.find_nodes(job), job.needs, job.fewest, now=turns.now)
    if start:
        turns.pool.reserve(start, job.needs)
    return start.time if start else None


def _tell(each: Waiting, turns: Round, facts: "_Facts", *, expected_start: float | None) -> Verdict:
    job = each.job
    avoids_too_much = each.reason == "NoSuchNodes" and turns.avoids_too_much(job)
    if each.reason == "NoSuchNodes":
        message = f"{ordinal(each.position)} in the queue; {facts.misfit(job)}"
    else:
        available, slots = facts.available(job)
        message = describe_place(
            job,
            position=each.position,
            available=available + _remark(each, slots),
            expected_start=expected_start,
            now=turns.now,
        )
    return Verdict(
        stand=Stand.WAITING,
        reason=each.reason,
        message=message,
        position=each.position,
        expected_start=expected_start,
        avoids_too_much=avoids_too_much,
    )


def _remark(each: Waiting, slots: int) -> str:
    if each.reason == "PlaceBeingFreed":
        return ", and the rest is being freed by pods that checkpoint and end"
    return ", kept for jobs before it" if slots >= each.job.fewest else ""


class _Facts:
    """What is said to many jobs, worked out once for each sort of them."""

    def __init__(self, turns: Round) -> None:
        self._turns = turns
        self._free = _count_free(turns) if turns.waiting else Pool()
        self._available: dict[object, tuple[str, int]] = {}
        self._misfits: dict[object, str] = {}

    def available(self, job: QueuedJob) -> tuple[str, int]:
        """Return what is really free where a job may be, reserved or not, in words and as room for its pods."""
        key = (job.placement, job.needs)
        if key not in self._available:
            free = [self._free.free[node] for node in self._turns.find_nodes(job)]
            slots = sum(count_slots(each, job.needs) for each in free)
            self._available[key] = (self._describe(job.needs[0][0], free), slots)
        return self._available[key]

    def misfit(self, job: QueuedJob) -> str:
        key = (job.placement, job.needs, job.pods, job.fewest)
        if key not in self._misfits:
            capacity = self._turns.capacity
            self._misfits[key] = explain_misfit(job, capacity.nodes, is_budget=capacity.is_budget)
        return self._misfits[key]

    def _describe(self, resource: str, free: Sequence[Mapping[str, float]]) -> str:
        amounts = [each.get(resource, 0.0) for each in free]
        if self._turns.capacity.is_budget:
            total = self._turns.capacity.nodes[0].allocatable.get(resource, 0.0)
            return describe_budget(sum(amounts), total, resource)
        return describe_free(amounts, resource)
