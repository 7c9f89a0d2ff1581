"""When a status that differs in progress only may be written: seldom for one job, and at a bounded rate over all. No I/O."""

from oarlock_operator.clock import Clock
from oarlock_operator.reconcile.plans import Reference
from oarlock_operator.settings import Settings


class WriteBudget:
    """A bucket of tokens for all jobs, and the time of the last write of each."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._pause, self._rate, self._clock = settings.progress_write_seconds, settings.status_writes_per_second, clock
        self._tokens, self._filled = self._rate, clock.monotonic()
        self._written: dict[Reference, float] = {}

    def wait_until(self, key: Reference) -> float | None:
        """Return when the next write for this key may be tried, or None if it may be now, which takes a token."""
        earliest = self.earliest(key)
        if earliest is not None:
            return earliest
        now = self._clock.monotonic()
        self._tokens = min(self._rate, self._tokens + (now - self._filled) * self._rate)
        self._filled = now
        if self._tokens < 1:
            return self._clock.now() + (1 - self._tokens) / self._rate
        self._tokens -= 1
        return None

    def earliest(self, key: Reference) -> float | None:
        """Return when the pause after the last write for this key ends; None: it is over."""
        left = self._written.get(key, float("-inf")) + self._pause - self._clock.monotonic()
        return self._clock.now() + left if left > 0 else None

    def note_write(self, key: Reference) -> None:
        self._written[key] = self._clock.monotonic()

    def forget(self, key: Reference) -> None:
        self._written.pop(key, None)
