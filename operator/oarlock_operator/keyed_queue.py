"""One queue of keys for all workers: what is to be looked at, never why.

A key is processed by one worker at a time; added again meanwhile, it runs once more afterwards; keys take turns in the order
of their arrival, so that a busy one cannot starve the others. A key that fails waits longer each time, and what is added
meanwhile waits with it.
"""

import asyncio
import heapq
import itertools
import random
from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

from oarlock_operator.clock import Clock

K = TypeVar("K", bound=Hashable)

_LONGEST_NAP = 30.0
"""Timers are compared with the clock at least this often: it may be set while they wait."""
_RESOLUTION = 0.001
"""Seconds that are no wait: seconds since 1970 are not told apart much finer."""
_JUMP = 5.0
"""Seconds by which a clock must have been set to make all timers due: looking at a key once too often harms nobody."""


class KeyedQueue(Generic[K]):
    """Keys that wait, run, or are due at some time. All methods belong to one event loop."""

    def __init__(
        self,
        *,
        clock: Clock,
        first_delay: float = 0.5,
        longest_delay: float = 60.0,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._clock = clock
        self._first_delay, self._longest_delay, self._jitter = first_delay, longest_delay, jitter
        self._waiting: dict[K, None] = {}
        self._active: set[K] = set()
        self._again: set[K] = set()
        self._due: dict[K, float] = {}
        self._timers: list[tuple[float, int, K]] = []
        self._offset = clock.now() - clock.monotonic()
        self._order = itertools.count()
        self._failures: dict[K, int] = {}
        self._penalties: dict[K, float] = {}
        self._arrival = asyncio.Event()
        self._timer_change = asyncio.Event()

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def active(self) -> int:
        """Keys that are being processed."""
        return len(self._active)

    @property
    def is_idle(self) -> bool:
        """Nothing waits and nothing runs; timers may be set."""
        return not self._waiting and not self._active

    def add(self, key: K) -> None:
        """Have a key processed as soon as a worker is free, or when it has served its delay after a failure."""
        penalty = self._penalties.get(key, float("-inf")) - self._clock.monotonic()
        if penalty > _RESOLUTION:
            self.add_at(key, self._clock.now() + penalty)
        elif key in self._active:
            self._again.add(key)
        elif key not in self._waiting:
            self._waiting[key] = None
            self._arrival.set()

    def add_at(self, key: K, when: float) -> None:
        """Have a key processed at a time, in seconds since 1970, unless it is due earlier already."""
        if when < self._due.get(key, float("inf")):
            self._due[key] = when
            heapq.heappush(self._timers, (when, next(self._order), key))
            self._timer_change.set()

    def punish(self, key: K, *, at_least: float = 0.0) -> float:
        """Note a failure of a key, and have it processed again after a delay, which is returned in seconds."""
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        delay: float = min(self._first_delay * 2 ** min(failures - 1, 32), self._longest_delay)
        delay = max(at_least, delay * (0.75 + 0.5 * self._jitter()))
        self._penalties[key] = self._clock.monotonic() + delay
        self.add_at(key, self._clock.now() + delay)
        return delay

    def forgive(self, key: K) -> None:
        """Note a success of a key."""
        self._failures.pop(key, None)
        self._penalties.pop(key, None)

    def forgive_all(self) -> None:
        """Let all failed keys try at once: what they failed for has changed."""
        failed = list(self._penalties)
        self._failures.clear()
        self._penalties.clear()
        for key in failed:
            self.add(key)

    @asynccontextmanager
    async def take(self) -> AsyncIterator[K]:
        """Wait for a key, and hold it while the context lasts."""
        while not self._waiting:
            self._arrival.clear()
            await self._arrival.wait()
        key = next(iter(self._waiting))
        del self._waiting[key]
        self._active.add(key)
        try:
            yield key
        finally:
            self._active.discard(key)
            if key in self._again:
                self._again.discard(key)
                self.add(key)

    async def run_timers(self) -> None:
        """Add keys when they are due, for ever."""
        while True:
            self._timer_change.clear()
            nap = self._release_due()
            sleep = asyncio.ensure_future(self._clock.sleep(nap))
            change = asyncio.ensure_future(self._timer_change.wait())
            try:
                await asyncio.wait({sleep, change}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                # Not awaited: that would swallow a cancellation of this task which arrives in the meantime.
                sleep.cancel()
                change.cancel()

    def _release_due(self) -> float:
        now = self._clock.now()
        if self._was_clock_set():
            self._timers = [(now, order, key) for _, order, key in self._timers if key in self._due]
            self._due = dict.fromkeys(self._due, now)
        while self._timers and self._timers[0][0] <= now:
            when, _, key = heapq.heappop(self._timers)
            if self._due.get(key) == when:
                del self._due[key]
                self.add(key)
        return min(_LONGEST_NAP, self._timers[0][0] - now) if self._timers else _LONGEST_NAP

    def _was_clock_set(self) -> bool:
        """Say whether the clock jumped since the last time: then nothing that is due by it can be relied upon."""
        before, self._offset = self._offset, self._clock.now() - self._clock.monotonic()
        return abs(self._offset - before) > _JUMP
