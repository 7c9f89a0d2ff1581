"""Time as a parameter: whoever waits is given a clock, so that tests decide how fast it goes.

There are two times. `now` is what the cluster's objects are stamped with, and what deadlines are compared with. `monotonic` is
for what begins and ends in this process: it never goes back and never jumps.
"""

import asyncio
import time
from collections import deque
from email.utils import parsedate_to_datetime
from statistics import median
from typing import Protocol

_SAMPLES = 9
_MOST_DRIFT = 2.0
"""Seconds by which the server's clock may seem to wander: it tells whole seconds, and late."""


class Clock(Protocol):
    """Tells the time and lets it pass."""

    def now(self) -> float:
        """Seconds since 1970."""
        ...

    def monotonic(self) -> float:
        """Seconds since some moment."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait; at least one turn of the event loop."""
        ...


class SystemClock:
    """The clock of the machine."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class ServerClock(SystemClock):
    """The clock of the API server, as its answers tell it, carried on by our own monotonic one.

    It stamps the objects that deadlines are counted from, so that it does not matter how wrong the clock of this machine is, or
    who sets it. The median of the last answers counts: one of several servers whose clock is wrong is not believed.
    """

    def __init__(self) -> None:
        self._samples: deque[float] = deque(maxlen=_SAMPLES)
        self._offset: float | None = None

    def now(self) -> float:
        return time.time() if self._offset is None else self.monotonic() + self._offset

    def note(self, date: str | None) -> None:
        """Take the Date header of an answer that came just now; nonsense is passed over."""
        try:
            seconds = parsedate_to_datetime(date or "").timestamp()
        except (TypeError, ValueError):
            return
        self._samples.append(seconds + 0.5 - self.monotonic())
        told = median(self._samples)
        if self._offset is None or abs(told - self._offset) > _MOST_DRIFT:
            self._offset = told
