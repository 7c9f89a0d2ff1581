"""One round of the queue as it goes on: who holds which room, who waits, and what is kept for whom. Pure, but changes as it is used."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from oarlock_operator.queueing.capacity import Capacity
from oarlock_operator.queueing.jobs import Needs, QueuedJob
from oarlock_operator.queueing.placement import Placement, why_not
from oarlock_operator.queueing.pool import NEVER, Pool, Release, Room, Start, count_slots
from oarlock_operator.queueing.preemption import choose_victims

_MOST_PREEMPTING = 32
"""Jobs that may preempt others in one round: each looks at all that run, and the next round is a second away."""

Sort = tuple[Placement, Needs]
"""Jobs of one sort may use the same nodes, and need the same on each."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Waiting:
    """A job that had its turn and did not get in."""

    job: QueuedJob
    position: int
    """Place among those that wait for the same resource, counted from 1."""
    reason: str
    start: Start | None = None
    """Its reservation."""


@dataclass(slots=True)
class Round:
    """What the turns of a round have come to so far."""

    capacity: Capacity
    now: float
    pool: Pool
    admitted: dict[str, QueuedJob] = field(default_factory=dict)
    """Jobs that hold room, by UID."""
    held: dict[str, Room] = field(default_factory=dict)
    """Where they hold it, by UID."""
    preempted: dict[str, QueuedJob] = field(default_factory=dict)
    """Who gets the place of whom, by the UID of who loses it."""
    losers: dict[str, QueuedJob] = field(default_factory=dict)
    """Those who lose it, by UID: they hold it until their pods are gone."""
    waiting: list[Waiting] = field(default_factory=list)
    _wanted: set[str] = field(default_factory=set)
    """Nodes to which somebody who waits has the first claim."""
    _claimed: set[Sort] = field(default_factory=set)
    """Sorts of jobs all of whose nodes are wanted."""
    _nodes: dict[Sort, list[str]] = field(default_factory=dict)
    _most: dict[Sort, int] = field(default_factory=dict)
    """Pods that would find room if nobody were there."""
    _full: dict[Sort, int] = field(default_factory=lambda: defaultdict(int))
    """How many of the first nodes of a sort are full: what is free only shrinks in a round."""
    _too_many: dict[Sort, int] = field(default_factory=dict)
    """The fewest pods for which no room was found in this round."""
    _unhelped: dict[Sort, int] = field(default_factory=dict)
    """The fewest pods for which none was found even by preemption."""
    _positions: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def hold_all(self, jobs: Sequence[QueuedJob]) -> None:
        """Give admitted jobs what they have: their pods' nodes first, then room for the pods that have no node yet."""
        missing = {job.uid: job.pods - self._hold_bound(job) for job in jobs}
        for job in jobs:
            if missing[job.uid] > 0:
                self._hold(job, self._find_some_room(job, missing[job.uid]))

    def let_in(self, job: QueuedJob) -> bool:
        """Give a job the room that it needs, if all of that is free, or as much as it would begin with; say whether it is."""
        sort = _sort(job)
        least = self._too_many.get(sort)
        if least is not None and job.fewest >= least:
            return False
        room = self.pool.find_room(self._open_nodes(job), job.needs, job.pods) or self._find_less_room(job)
        if room is None:
            self._too_many[sort] = job.fewest
            return False
        self._hold(job, room)
        return True

    def could_ever_fit(self, job: QueuedJob) -> bool:
        """Say whether a job would find room if nobody else were there."""
        sort = _sort(job)
        if sort not in self._most:
            nodes = set(self.find_nodes(job))
            there = (node.allocatable for node in self.capacity.nodes if node.name in nodes)
            self._most[sort] = sum(count_slots(allocatable, job.needs) for allocatable in there)
        return self._most[sort] >= job.fewest

    def avoids_too_much(self, job: QueuedJob) -> bool:
        """Say whether a job that could never fit could if it avoided no nodes."""
        anywhere = replace(job, placement=replace(job.placement, avoided=()))
        return bool(job.placement.avoided) and self.could_ever_fit(anywhere)

    def wait_for_ending(self, job: QueuedJob) -> Start | None:
        """Reserve room that is being given back, by jobs that are preempted for this if need be; None: there is not enough."""
        sort = _sort(job)
        least = self._unhelped.get(sort)
        if least is not None and job.fewest >= least:
            return None
        nodes = self.find_nodes(job)
        start = self._find_ending(job, nodes)
        if start is None and self._preempt(job, nodes):
            start = self._find_ending(job, nodes)
        if start is None:
            self._unhelped[sort] = job.fewest
            return None
        self.pool.reserve(start, job.needs)
        return start

    def claim(self, job: QueuedJob) -> Start | None:
        """Keep nodes for the first job that wants them: where it will start, if that is known, else wherever it might."""
        nodes, sort = self.find_nodes(job), _sort(job)
        if sort in self._claimed:
            return None
        self._claimed.add(sort)
        if self._wanted.issuperset(nodes):
            return None  # a job before it has claimed them
        self._wanted.update(nodes)
        start = self.pool.find_start(nodes, job.needs, job.fewest, now=self.now)
        if start:
            self.pool.reserve(start, job.needs)
        else:
            self.pool.closed.update(nodes)
        return start

    def wait(self, job: QueuedJob, reason: str, start: Start | None = None) -> None:
        resource = job.needs[0][0]
        self._positions[resource] += 1
        self.waiting.append(Waiting(job=job, position=self._positions[resource], reason=reason, start=start))

    def find_nodes(self, job: QueuedJob) -> list[str]:
        """Return the nodes that a job's pods may use and that are large enough, the fullest first."""
        sort = _sort(job)
        if sort not in self._nodes:
            resources = [resource for resource, _ in job.needs]
            fit = [
                node.name
                for node in self.capacity.nodes
                if count_slots(node.allocatable, job.needs) and not why_not(job.placement, node, resources=resources)
            ]
            self._nodes[sort] = sorted(fit, key=lambda name: (count_slots(self.pool.free[name], job.needs), name))
        return self._nodes[sort]

    def _find_less_room(self, job: QueuedJob) -> Room | None:
        """Return the most room that there is, if an elastic job would begin with that."""
        if not 0 < job.least < job.pods:
            return None
        room: Room = {}
        for node in self._open_nodes(job):
            if slots := min(self.pool.slots(node, job.needs), job.pods - sum(room.values())):
                room[node] = slots
        return room if sum(room.values()) >= job.least else None

    def _open_nodes(self, job: QueuedJob) -> Sequence[str]:
        nodes, sort = self.find_nodes(job), _sort(job)
        full = self._full[sort]
        while full < len(nodes) and not self.pool.slots(nodes[full], job.needs):
            full += 1
        self._full[sort] = full
        return nodes[full:]

    def _hold_bound(self, job: QueuedJob) -> int:
        room: Room = {}
        for node in job.bound[: job.pods]:
            if node in self.pool.free:
                room[node] = room.get(node, 0) + 1
        self._hold(job, room)
        return sum(room.values())

    def _find_some_room(self, job: QueuedJob, missing: int) -> Room:
        """Return room for as many pods as possible: a node may have gone since the job was admitted."""
        room: Room = {}
        planned = Counter(job.planned)
        planned.subtract(self.held[job.uid])
        for node, pods in planned.items():
            if pods > 0 and node in self.pool.free:
                room[node] = min(pods, missing, self.pool.slots(node, job.needs))
                missing -= room[node]
        for node in self._open_nodes(job) if missing else ():
            more = min(missing, self.pool.slots(node, job.needs) - room.get(node, 0))
            if more > 0:
                room[node] = room.get(node, 0) + more
                missing -= more
        return room

    def _hold(self, job: QueuedJob, room: Room) -> None:
        ends = NEVER if job.ends is None else max(job.ends, self.now)
        held = self.held.setdefault(job.uid, {})
        for node, pods in room.items():
            self.pool.take(node, job.needs, pods)
            amounts = {resource: pods * amount for resource, amount in job.needs}
            self.pool.expect(Release(time=ends, node=node, amounts=amounts, owner=job.uid))
            held[node] = held.get(node, 0) + pods
        self.admitted[job.uid] = job

    def _find_ending(self, job: QueuedJob, nodes: Sequence[str]) -> Start | None:
        return self.pool.find_start(nodes, job.needs, job.fewest, now=self.now, only_leaving=True)

    def _preempt(self, job: QueuedJob, nodes: Sequence[str]) -> bool:
        if len({winner.uid for winner in self.preempted.values()}) >= _MOST_PREEMPTING:
            return False
        victims = choose_victims(job, self.admitted.values(), pool=self.pool, nodes=nodes)
        for victim in victims:
            self.preempted[victim.uid] = job
            self.losers[victim.uid] = self.admitted.pop(victim.uid)
            self.pool.leave(victim.uid, now=self.now)
        if victims:
            self._unhelped.clear()  # they may leave more than is needed
        return bool(victims)


def _sort(job: QueuedJob) -> Sort:
    return job.placement, job.needs
