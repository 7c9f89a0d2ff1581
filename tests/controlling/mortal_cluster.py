"""A cluster in memory, as it is seen by an operator that dies at one of its requests."""

import asyncio
import random
from collections.abc import Callable
from typing import Any

from fake_cluster import FakeCluster, settle

_REQUESTS = frozenset({"get", "list", "create", "delete", "write_status", "write_finalizers", "record_event"})


class MortalCluster:
    """What the operator talks to, until `die` is called: from then on its request waits for ever, and somebody has to end it."""

    def __init__(
        self,
        cluster: FakeCluster,
        *,
        dies_at: int,
        after: bool,
        die: Callable[[], None],
        kind: str = "",
        most_delay: int = 0,
    ) -> None:
        """Let an operator live for so many requests.

        Args:
            cluster: what does as it is asked.
            dies_at: number of the request, counted from 1; 0: never.
            after: whether the server has done by then what is asked for.
            die: notes the death.
            kind: the kind that those requests are about which count; empty: all.
            most_delay: turns of the event loop for which each request may be on its way.
        """
        self._cluster, self._dies_at, self._after, self._note_death = cluster, dies_at, after, die
        self._kind, self._most_delay = kind, most_delay
        self._requests = 0

    def __getattr__(self, name: str) -> Any:
        port = getattr(self._cluster, name)
        return self._wrap(port) if name in _REQUESTS else port

    def _wrap(self, request: Any) -> Any:
        async def wrapped(*arguments: Any, **options: Any) -> Any:
            is_meant = self._kind in {"", _kind_of(arguments[0])}
            self._requests += is_meant
            is_last = is_meant and self._requests == self._dies_at
            if is_last and not self._after:
                await self._die()
            await settle(random.Random(self._requests).randint(0, self._most_delay))
            try:
                return await request(*arguments, **options)
            finally:
                if is_last:
                    await self._die()

        return wrapped

    async def _die(self) -> None:
        self._note_death()
        await asyncio.Event().wait()


def _kind_of(subject: Any) -> str:
    """Return the kind of what a request is about: a manifest, a reference, or the kind itself."""
    return str(subject["kind"] if isinstance(subject, dict) else getattr(subject, "kind", subject))
