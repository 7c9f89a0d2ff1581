"""What is free on each node, now and later, while jobs are placed one after the other. Pure, but changes as it is used.

Pods of a job all need the same, so that a job fits exactly if the nodes have enough slots for its pods, whichever are taken.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from oarlock_operator.queueing.capacity import Capacity
from oarlock_operator.queueing.jobs import Needs

Room = dict[str, int]
"""Pods on each node."""

NEVER = math.inf
"""When something is given back of which nobody knows when."""
_SLACK = 1e-6
"""Amounts are cores and bytes as well as counts: a rounding error takes nobody's slot."""


@dataclass(kw_only=True, slots=True)
class Release:
    """What a pod gives back when it ends."""

    time: float
    node: str
    amounts: dict[str, float]
    owner: str = ""
    """UID of the admitted job that it belongs to."""
    is_leaving: bool = False
    """Whether it is ending already."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Start:
    """When and where a job could start."""

    time: float
    room: Room


@dataclass(slots=True)
class Pool:
    """Free amounts by node and resource."""

    free: dict[str, dict[str, float]] = field(default_factory=dict)
    releases: list[Release] = field(default_factory=list)
    closed: set[str] = field(default_factory=set)
    """Nodes that are kept for a job which waits for any of them."""

    def take(self, node: str, needs: Needs, pods: int = 1) -> None:
        """Take room for pods on a node; more than there is where that has happened already."""
        free = self.free.get(node)
        if free is None:
            return
        for resource, amount in needs:
            free[resource] = free.get(resource, 0.0) - pods * amount

    def expect(self, release: Release) -> None:
        """Note that something will be given back."""
        if release.node in self.free:
            self.releases.append(release)

    def slots(self, node: str, needs: Needs) -> int:
        """Return how many pods find room on a node now."""
        return 0 if node in self.closed else count_slots(self.free[node], needs)

    def find_room(self, nodes: Sequence[str], needs: Needs, pods: int) -> Room | None:
        """Return where all pods find room now; None: not all do."""
        room: Room = {}
        for node in nodes:
            if slots := self.slots(node, needs):
                room[node] = min(slots, pods)
                pods -= room[node]
                if pods == 0:
                    return room
        return None

    def find_start(
        self, nodes: Iterable[str], needs: Needs, pods: int, *, now: float, only_leaving: bool = False
    ) -> Start | None:
        """Return when all pods find room, if nobody else takes it meanwhile; None: that is not known."""
        future = {node: dict(self.free[node]) for node in nodes if node not in self.closed}
        slots = {node: count_slots(free, needs) for node, free in future.items()}
        total, time = sum(slots.values()), now
        for release in sorted(self.releases, key=lambda release: release.time):
            if total >= pods or release.time == NEVER:
                break
            if release.node not in future or (only_leaving and not release.is_leaving):
                continue
            add_amounts(future[release.node], release.amounts)
            total -= slots[release.node]
            slots[release.node] = count_slots(future[release.node], needs)
            total, time = total + slots[release.node], max(now, release.time)
        return Start(time=time, room=_fill(slots, pods)) if total >= pods else None

    def reserve(self, start: Start, needs: Needs) -> None:
        """Keep room for a later start: as much as possible of what is given back until then, and the rest of what is free."""
        until = [release for release in self.releases if release.time <= start.time and release.node in start.room]
        left = {(node, resource): pods * amount for node, pods in start.room.items() for resource, amount in needs}
        for release in until:
            for resource in release.amounts:
                wanted = left.get((release.node, resource), 0.0)
                used = min(wanted, release.amounts[resource])
                if used > 0:
                    release.amounts[resource] -= used
                    left[release.node, resource] = wanted - used
        for (node, resource), amount in left.items():
            self.free[node][resource] = self.free[node].get(resource, 0.0) - amount

    def leave(self, owner: str, *, now: float) -> None:
        """Note that a job gives its place away: its pods end soon."""
        for release in self.releases:
            if release.owner == owner:
                release.time, release.is_leaving = now, True


def build_pool(capacity: Capacity) -> Pool:
    """Return what is free before any job of the queue is placed."""
    pool = Pool(free={node.name: dict(node.allocatable) for node in capacity.nodes if node.is_ready})
    for each in capacity.occupied:
        pool.take(each.node, each.needs)
        if each.until is not None:
            pool.expect(Release(time=each.until, node=each.node, amounts=dict(each.needs), is_leaving=True))
    return pool


def count_slots(free: Mapping[str, float], needs: Needs) -> int:
    """Return how many pods find room in what is free."""
    if len(needs) == 1:
        resource, amount = needs[0]
        return max(0, int((free.get(resource, 0.0) + _SLACK) // amount))
    return max(0, min(int((free.get(resource, 0.0) + _SLACK) // amount) for resource, amount in needs))


def add_amounts(free: dict[str, float], amounts: Mapping[str, float], *, times: int = 1) -> None:
    for resource, amount in amounts.items():
        free[resource] = free.get(resource, 0.0) + times * amount


def _fill(slots: Mapping[str, int], pods: int) -> Room:
    room: Room = {}
    for node, there in slots.items():
        if there and pods:
            room[node] = min(there, pods)
            pods -= room[node]
    return room
