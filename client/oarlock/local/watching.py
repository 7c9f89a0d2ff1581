"""Watches on the local cluster: each sees all objects first, then every change, and all objects again if it fell behind."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from oarlock_operator.cluster.port import Change, WatchEvent

Object = dict[str, Any]
ListObjects = Callable[[], Sequence[Object]]

BACKLOG = 10_000
"""Events that may wait for a watcher before it has to list anew, as a slow client of an API server has to."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """Which objects a watch is about."""

    kind: str
    namespace: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)

    def matches(self, item: Object) -> bool:
        metadata = item["metadata"]
        labels = metadata.get("labels") or {}
        return (
            item["kind"] == self.kind
            and (self.namespace is None or metadata.get("namespace", "") == self.namespace)
            and all(labels.get(key) == value for key, value in self.labels.items())
        )


class WatchHub:
    """Passes changes on to whoever watches."""

    def __init__(self, *, backlog: int = BACKLOG) -> None:
        self._backlog = backlog
        self._watches: set[_Watch] = set()

    def publish(self, change: Change, item: Object, *, before: Object | None = None) -> None:
        """Tell every watch what happened; `before` is the version that a MODIFIED object had."""
        for watch in self._watches:
            watch.offer(change, item, before)

    def interrupt(self) -> None:
        """Let every watch list anew, as after a lost connection."""
        for watch in self._watches:
            watch.overflow()

    async def follow(self, selection: Selection, list_objects: ListObjects) -> AsyncIterator[WatchEvent]:
        watch = _Watch(selection, self._backlog)
        self._watches.add(watch)
        try:
            while True:
                watch.restart()
                yield WatchEvent(change=Change.RELISTED, listed=tuple(filter(selection.matches, list_objects())))
                while (event := await watch.next()) is not None:
                    yield event
        finally:
            self._watches.discard(watch)


class _Watch:
    """The queue of one watcher."""

    def __init__(self, selection: Selection, backlog: int) -> None:
        self._selection, self._backlog = selection, backlog
        self._events: asyncio.Queue[WatchEvent] = asyncio.Queue()
        self._overflown = False

    def offer(self, change: Change, item: Object, before: Object | None) -> None:
        now, earlier = self._selection.matches(item), before is not None and self._selection.matches(before)
        if change is Change.MODIFIED and now != earlier:  # it came into the selection, or left it
            change = Change.ADDED if now else Change.DELETED
        elif not now:
            return
        if self._events.qsize() >= self._backlog:
            self.overflow()
        elif not self._overflown:
            self._events.put_nowait(WatchEvent(change=change, object=item))

    def overflow(self) -> None:
        self._overflown = True
        self._events.put_nowait(WatchEvent(change=Change.RELISTED))  # wakes the watcher; it lists when it gets there

    def restart(self) -> None:
        self._overflown = False
        self._events = asyncio.Queue()

    async def next(self) -> WatchEvent | None:
        """Return the next event; None if some were lost."""
        event = await self._events.get()
        return None if self._overflown else event
