"""Keeping the store up to date: watches that are begun again when they fail, and comparisons that find what they missed."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

from oarlock_operator.clock import Clock
from oarlock_operator.cluster.port import Change, Cluster, ClusterError, NotFoundError, RefusedError, WatchEvent
from oarlock_operator.echoes import Unheard
from oarlock_operator.metrics import Metrics
from oarlock_operator.names import MANAGED_BY, MANAGED_BY_LABEL
from oarlock_operator.store import CHILD_KINDS, CUSTOM_KINDS, POD_GROUP, Store

_log = logging.getLogger(__name__)

_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 30.0
_HINT_PAUSE = 5.0
"""Seconds for which hints are collected before they lead to one comparison."""
_ECHO_SECONDS = 30.0
_HEALTHY_SECONDS = 60.0
"""A watch that lasted so long begins again without a pause."""


class Watching:
    """Watches of all kinds, feeding one store."""

    def __init__(
        self,
        cluster: Cluster,
        store: Store,
        *,
        namespace: str | None,
        clock: Clock,
        metrics: Metrics,
        relisted: Callable[[str], None],
    ) -> None:
        self._cluster, self._store, self._namespace = cluster, store, namespace
        self._clock, self._metrics, self._relisted = clock, metrics, relisted
        self._listed = asyncio.Event()
        self._hints: set[str] = set()
        self._heard_of: set[str] = set()
        """Kinds of which a watch has brought something since the last look."""
        self._hinted = asyncio.Event()
        self.failing_since: dict[str, float] = {}
        """Since when, on the monotonic clock, a watch does not get through, by kind; absent: it does."""
        self.absent: set[str] = set()
        """Kinds of other projects that the cluster does not know, as far as known."""
        self.unheard = {kind: Unheard() for kind in (*CUSTOM_KINDS, *CHILD_KINDS, POD_GROUP)}
        """What the operator wrote, or read past the watch, and the watch has not brought, by kind."""

    def take(self, kind: str, event: WatchEvent) -> None:
        """Take one event of a watch."""
        self._store.apply(kind, event)
        self._heard_of.add(kind)
        self._metrics.count_watch(kind=kind, what=event.change.value.lower())
        self.failing_since.pop(kind, None)
        self.absent.discard(kind)
        if event.change is Change.RELISTED:
            self._relisted(kind)
            self._note_listing()

    async def wait_until_listed(self) -> None:
        """Wait until everything was seen at least once that planning must not miss."""
        await self._listed.wait()

    async def watch(
        self,
        kind: str,
        *,
        labels: Mapping[str, str] | None = None,
        is_optional: bool = False,
        may_be_absent: bool = False,
    ) -> None:
        """Follow a kind for ever; one that may be absent, until the cluster does not know it.

        Raises:
            RefusedError: we may not watch it, and cannot do without.
        """
        pause, is_allowed = _FIRST_PAUSE, False
        while True:
            began = self._clock.monotonic()
            try:
                async for event in self._cluster.watch(kind, namespace=self._namespace, labels=labels):
                    is_allowed = True
                    self.take(kind, event)
            except RefusedError as error:
                # Servers that start refuse for a moment what they have allowed for days.
                if is_optional and not is_allowed:
                    _log.warning("goes on without watching %s: %s", kind, error)
                    return
                if not is_allowed and not self._store.mirror(kind).is_listed:
                    raise
                self._note_failure(kind, error)
            except ClusterError as error:
                if may_be_absent and isinstance(error, NotFoundError):
                    self.failing_since.pop(kind, None)
                    self.absent.add(kind)
                    return
                self._note_failure(kind, error)
            except Exception as error:  # noqa: BLE001  # whatever a watch fails of, it begins again
                _log.exception("the watch of %s fails", kind)
                self._note_failure(kind, error)
            pause = (
                _FIRST_PAUSE if self._clock.monotonic() - began > _HEALTHY_SECONDS else min(pause * 2, _LONGEST_PAUSE)
            )
            await self._clock.sleep(pause)

    async def introduce(self, kind: str) -> None:
        """List a kind once whose events somebody else feeds.

        Raises:
            RefusedError: we may not list it.
        """
        pause = _FIRST_PAUSE
        while True:
            asked = self._store.mark(kind)
            try:
                listed = await self._cluster.list(kind, namespace=self._namespace)
                self._store.mirror(kind).introduce(listed, asked=asked)
            except RefusedError:
                raise
            except ClusterError as error:
                self._note_failure(kind, error)
                pause = min(pause * 2, _LONGEST_PAUSE)
                await self._clock.sleep(pause)
            else:
                self.failing_since.pop(kind, None)
                self._note_listing()
                return

    def compare_soon(self, kind: str) -> None:
        self._hints.add(kind)
        self._hinted.set()

    async def run_comparisons(self, seconds: float, *, compared: Callable[..., Awaitable[None]]) -> None:
        """Compare what is stored with what is there, for ever: now and then, and soon after a hint."""
        await self.wait_until_listed()
        while True:
            hints = await self._wait_for_hints(seconds)
            try:
                for kind in sorted(hints or self._comparable()):
                    await self._compare(kind)
            except ClusterError as error:
                self._metrics.count_error(where="resync", error=error)
                _log.warning("cannot compare what is stored with what is there: %s", error)
            else:
                await compared(is_full=not hints)

    async def run_echo_checks(self) -> None:
        """Note now and then, for ever, what silent watches owe: one that is known to be lost owes nothing."""
        while True:
            await self._clock.sleep(_ECHO_SECONDS)
            now = self._clock.monotonic()
            for kind, unheard in self.unheard.items():
                owes = kind not in self._heard_of and kind not in {*self.failing_since, *self.absent}
                unheard.update(set(self._store.mirror(kind).unheard()) if owes else set(), now=now)
            self._heard_of.clear()

    async def _wait_for_hints(self, seconds: float) -> set[str]:
        """Return the kinds that were hinted at; none when the time is over without a hint."""
        sleep = asyncio.ensure_future(self._clock.sleep(seconds))
        hint = asyncio.ensure_future(self._hinted.wait())
        try:
            await asyncio.wait({sleep, hint}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleep.cancel()
            hint.cancel()
        if self._hinted.is_set():
            await self._clock.sleep(_HINT_PAUSE)
        kinds = set(self._hints)
        self._hints.clear()
        self._hinted.clear()
        return kinds

    async def _compare(self, kind: str) -> None:
        labels = {MANAGED_BY_LABEL: MANAGED_BY} if kind not in CUSTOM_KINDS else None
        listed = await self._cluster.list_versions(kind, namespace=self._namespace, labels=labels)
        differences = self._store.mirror(kind).compare(listed)
        self._metrics.count_repairs(kind=kind, repairs=differences)
        if differences:
            _log.info("%d objects of kind %s differ from what is stored", differences, kind)

    def _comparable(self) -> set[str]:
        has_groups = self._store.mirror(POD_GROUP).is_listed and POD_GROUP not in self.absent
        return {*CUSTOM_KINDS, *CHILD_KINDS, *((POD_GROUP,) if has_groups else ())}

    def _note_listing(self) -> None:
        if self._store.is_listed():
            self._listed.set()

    def _note_failure(self, kind: str, error: Exception) -> None:
        self.failing_since.setdefault(kind, self._clock.monotonic())
        self._metrics.count_watch(kind=kind, what="failed")
        self._metrics.count_error(where=f"watch {kind}", error=error)
        _log.warning("the watch of %s begins again: %s", kind, error)
