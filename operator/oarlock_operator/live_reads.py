"""Objects that no watch shows, because they carry no label of ours.

They are claims that users bring, and strangers that hold a name which a child of ours needs. They are read when somebody asks
for them; what was read counts for a while.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from oarlock_operator import observing
from oarlock_operator.clock import Clock
from oarlock_operator.cluster.port import Cluster, NotFoundError
from oarlock_operator.observing import Object
from oarlock_operator.reconcile.plans import Reference
from oarlock_operator.store import CLAIM, POD, POD_GROUP, SERVICE

_SETTLED_AGE = 60.0
"""Seconds for which a bound claim counts as read."""
_UNSETTLED_AGE = 10.0
"""Seconds for which anything else does: it is waited for that it appears, gets bound or goes away."""
_FORGOTTEN_AGE = 600.0

_OBSERVERS: dict[str, Callable[[Object], Any]] = {
    CLAIM: observing.observe_claim,
    POD: observing.observe_pod,
    SERVICE: observing.observe_service,
    POD_GROUP: observing.observe_pod_group,
}


@dataclass(frozen=True, slots=True)
class _Read:
    seen: Any
    """What was observed; None: it is absent."""
    time: float
    """On the monotonic clock."""

    @property
    def is_settled(self) -> bool:
        return getattr(self.seen, "phase", "") == "Bound" and not self.seen.deleting

    @property
    def expires(self) -> float:
        return self.time + (_SETTLED_AGE if self.is_settled else _UNSETTLED_AGE)


class LiveReads:
    """What was read live, with its age."""

    def __init__(self, cluster: Cluster, clock: Clock) -> None:
        self._cluster, self._clock = cluster, clock
        self._reads: dict[Reference, _Read] = {}
        self._strangers: dict[Reference, set[Reference]] = defaultdict(set)

    async def read(self, references: Iterable[Reference]) -> list[Any]:
        """Observe those of the objects that exist."""
        found = await asyncio.gather(*(self._read(reference) for reference in references))
        return [seen for seen in found if seen is not None]

    async def read_strangers(self, key: Reference) -> list[Any]:
        """Observe the strangers that still hold a name which a key needs."""
        strangers = sorted(self._strangers.get(key, ()), key=lambda stranger: (stranger.kind, stranger.name))
        found = await self.read(strangers)
        if len(found) < len(strangers):
            self._strangers[key] = {stranger for stranger in strangers if self._reads[stranger].seen is not None}
        return found

    def note(self, raw: Object) -> None:
        """Take an object that was read for another reason."""
        metadata = raw["metadata"]
        reference = Reference(kind=raw["kind"], namespace=metadata.get("namespace", ""), name=metadata["name"])
        self._note(reference, _OBSERVERS[reference.kind](raw))

    def note_stranger(self, key: Reference, raw: Object) -> None:
        """Take the object of somebody else that holds a name which a key needs."""
        self.note(raw)
        name, namespace = raw["metadata"]["name"], raw["metadata"].get("namespace", "")
        self._strangers[key].add(Reference(kind=raw["kind"], namespace=namespace, name=name))

    def note_absence(self, reference: Reference) -> None:
        self._note(reference, None)

    def next_expiry(self, key: Reference, references: Iterable[Reference]) -> float | None:
        """Return when to look again at what a key waits for; None: it waits for nothing that no watch shows."""
        waited = {*references, *self._strangers.get(key, ())}
        reads = [read for reference in waited if (read := self._reads.get(reference))]
        expires = min((read.expires for read in reads if not read.is_settled), default=None)
        return None if expires is None else self._clock.now() + expires - self._clock.monotonic()

    def forget(self, key: Reference) -> None:
        self._strangers.pop(key, None)

    def prune(self) -> None:
        """Forget what nobody asked for in a long time."""
        oldest = self._clock.monotonic() - _FORGOTTEN_AGE
        self._reads = {reference: read for reference, read in self._reads.items() if read.time > oldest}

    async def _read(self, reference: Reference) -> Any:
        read = self._reads.get(reference)
        if read and read.expires > self._clock.monotonic():
            return read.seen
        try:
            raw = await self._cluster.get(reference)
        except NotFoundError:
            return self._note(reference, None)
        return self._note(reference, _OBSERVERS[reference.kind](raw))

    def _note(self, reference: Reference, seen: Any) -> Any:
        self._reads[reference] = _Read(seen, self._clock.monotonic())
        return seen
