"""Getting a Lease, keeping it, and giving it back: the loop around what `leading` decides."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Protocol

from oarlock_operator.clock import Clock
from oarlock_operator.cluster.port import AlreadyExistsError, ClusterError, ConflictError, NotFoundError, RefusedError
from oarlock_operator.echoes import Echo
from oarlock_operator.leading import (
    WRITE_SECONDS,
    Lease,
    Move,
    Sighting,
    build_lease,
    decide_move,
    look,
    next_look,
    release_lease,
)
from oarlock_operator.metrics import Metrics

_log = logging.getLogger(__name__)

_REQUEST_SECONDS = 2.0
_RETRY_SECONDS = 0.5
"""After a request that failed: a leader has three tries before it must stop."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 15.0


class LeasePort(Protocol):
    """One Lease on a server."""

    async def read(self) -> Lease | None:
        """Raises ClusterError."""
        ...

    async def create(self, lease: Lease) -> Lease:
        """Raises AlreadyExistsError and others."""
        ...

    async def replace(self, lease: Lease) -> Lease:
        """Raises ConflictError if it is not what `lease.version` says any more, NotFoundError and others."""
        ...

    def watch(self) -> AsyncIterator[Lease | None]:
        """Yield it as it is and whenever it changes; None: it is gone."""
        ...


class Campaign:
    """One operator's claim to lead. All methods belong to one event loop."""

    def __init__(
        self,
        leases: LeasePort,
        *,
        me: str,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._leases, self._me, self._clock, self._metrics = leases, me, clock, metrics
        self._on_gain: Callable[[], None] = lambda: None
        self._on_loss: Callable[[], None] = lambda: None
        self._sighting: Sighting | None = None
        self._until = float("-inf")
        self._was_held = False
        self._gained = asyncio.Event()
        self._hint = asyncio.Event()
        self.echo = Echo()
        """Whether the watch brings what is written to the Lease, by whomever."""

    def tell(self, *, gained: Callable[[], None], lost: Callable[[], None]) -> None:
        """Have functions called whenever leadership begins and ends."""
        self._on_gain, self._on_loss = gained, lost

    def is_held(self) -> bool:
        """Say whether this operator may write now."""
        return self._clock.monotonic() < self._until

    async def wait(self) -> None:
        """Wait until this operator may write."""
        while not self.is_held():
            self._gained.clear()
            await self._gained.wait()

    async def run(self) -> None:
        """Try to lead, for ever."""
        while True:
            nap = await self._try()
            self._note_loss()
            await self._nap(nap)

    async def watch(self) -> None:
        """Follow the Lease, for ever: what is given back is taken at once, and every change of it is an echo."""
        pause = _FIRST_PAUSE
        while True:
            try:
                async for lease in self._leases.watch():
                    pause = _FIRST_PAUSE
                    self.echo.hear()
                    if lease is None or not lease.holder:
                        self._hint.set()
            except ClusterError as error:
                if not isinstance(error, RefusedError):
                    self.echo.forget()
                _log.warning("the watch of the Lease begins again: %s", error)
            pause = min(pause * 2, _LONGEST_PAUSE)
            await self._clock.sleep(pause)

    async def release(self) -> None:
        """Stop writing, and give the Lease back, so that the next one need not wait until it expires."""
        self._until = float("-inf")
        lease = self._sighting.lease if self._sighting else None
        if lease is None or lease.holder != self._me:
            return
        with contextlib.suppress(ClusterError, TimeoutError):
            async with asyncio.timeout(_REQUEST_SECONDS):
                await self._leases.replace(release_lease(lease, written=self._write_time()))
                _log.info("gave the Lease back")

    async def _try(self) -> float:
        """Look at the Lease and do what follows; return the seconds until the next time."""
        began = self._clock.monotonic()
        try:
            async with asyncio.timeout(_REQUEST_SECONDS):
                await self._take_turn(began)
        except (AlreadyExistsError, ConflictError, NotFoundError):
            self._sighting = None  # somebody else changed it: it must be looked at
            return _RETRY_SECONDS
        except (ClusterError, TimeoutError) as error:
            self._metrics.count_error(where="lease", error=error)
            _log.warning("the Lease cannot be %s: %s", "renewed" if self.is_held() else "looked at", error)
            self.echo.forget()
            return _RETRY_SECONDS
        return next_look(self._sighting, me=self._me, now=self._clock.monotonic())

    async def _take_turn(self, began: float) -> None:
        if self._sighting is None or self._sighting.lease.holder != self._me:
            await self._look()
        move = decide_move(self._sighting, me=self._me, now=self._clock.monotonic())
        if move is Move.WAIT:
            self._until = float("-inf")
            return
        before = self._sighting.lease if self._sighting else None
        wanted = build_lease(before, me=self._me, written=self._write_time())
        written = await (self._leases.create(wanted) if move is Move.CREATE else self._leases.replace(wanted))
        self._sighting = Sighting(lease=written, since=self._clock.monotonic())
        self.echo.call(now=self._clock.monotonic())
        self._lead(until=began + WRITE_SECONDS)

    async def _look(self) -> None:
        lease, before = await self._leases.read(), self._sighting
        now = self._clock.monotonic()
        self._sighting = look(before, lease, now=now) if lease else None
        if lease and before and before.lease.version != lease.version:
            self.echo.call(now=now)

    def _lead(self, *, until: float) -> None:
        goes_on, self._until = self.is_held(), until
        self._gained.set()
        if goes_on:
            return
        self._was_held = True
        _log.info("leads from now on, as %s", self._me)
        self._metrics.show_leading(is_leading=True)
        self._on_gain()

    def _note_loss(self) -> None:
        if self._was_held and not self.is_held():
            self._was_held = False
            self._metrics.show_leading(is_leading=False)
            self._on_loss()
            holder = self._sighting.lease.holder if self._sighting else ""
            _log.warning("leads no longer%s: watches on, and writes nothing", f" ({holder} does)" if holder else "")

    async def _nap(self, seconds: float) -> None:
        """Sleep, but no longer than until somebody gives the Lease back."""
        sleep = asyncio.ensure_future(self._clock.sleep(seconds))
        hint = asyncio.ensure_future(self._hint.wait())
        try:
            await asyncio.wait({sleep, hint}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleep.cancel()
            hint.cancel()
        self._hint.clear()

    def _write_time(self) -> str:
        return datetime.fromtimestamp(self._clock.now(), UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
