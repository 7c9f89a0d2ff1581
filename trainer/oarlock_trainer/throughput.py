"""How fast training goes: step time split into waiting for data and computing, samples per second, time left, cost of saves.

Only running time counts: validation and other pauses are taken out, and the first window, in which memory is allocated and
kernels are chosen, does not shape the forecast. Pure: the time is a parameter, in seconds of a monotonic clock.
"""

from dataclasses import dataclass

_SMOOTHING = 0.3
"""Weight of the newest window in the forecast."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pace:
    """Means over the last window of steps on this rank."""

    step_seconds: float
    wait_seconds: float
    samples_per_second: float

    @property
    def compute_seconds(self) -> float:
        """Everything but waiting for data."""
        return max(0.0, self.step_seconds - self.wait_seconds)


@dataclass(slots=True)
class Ledger:
    """Steps, the seconds they ran, and the seconds of these that they waited for data."""

    steps: int = 0
    seconds: float = 0.0
    waited: float = 0.0

    def add(self, other: "Ledger") -> None:
        self.steps += other.steps
        self.seconds += other.seconds
        self.waited += other.waited

    def mean(self) -> float:
        """Return the seconds of a step."""
        return self.seconds / self.steps if self.steps else 0.0


class Throughput:
    """Measures one rank's steps."""

    def __init__(self, *, batch_size: int, now: float) -> None:
        self._batch_size = batch_size
        self._running_since: float | None = now
        self._since, self._window, self._usual, self._saving = Ledger(), Ledger(), Ledger(), Ledger()
        self._windows = 0
        self._step_seconds: float | None = None
        self._validation_seconds: float | None = None
        self._is_saving = False
        self.pace: Pace | None = None

    def count_step(self, wait_seconds: float) -> None:
        """Note a step, and how much of it was waiting for data."""
        self._since.steps += 1
        self._since.waited += wait_seconds

    def pause(self, now: float) -> None:
        """Stop the clock: what follows is not training."""
        if self._running_since is not None:
            self._since.seconds += now - self._running_since
            self._running_since = None

    def resume(self, now: float) -> None:
        """Let the clock run again."""
        self._running_since = now

    def note_validation(self, seconds: float) -> None:
        """Take up how long a validation took."""
        self._validation_seconds = _smooth(self._validation_seconds, seconds)

    def begin_save(self) -> None:
        """Note that a save runs in the background from now on."""
        self._book()
        self._is_saving, self._saving = True, Ledger()

    def end_save(self, *, stall_seconds: float, durable_seconds: float) -> float:
        """Return what the save cost in training time: the stall, and by how much the steps beside it were slower.

        That is at most the time that it took; more is the noise of the machine.
        """
        self._book()
        self._is_saving = False
        slowdown = self._saving.seconds - self._usual.mean() * self._saving.steps
        return stall_seconds + min(max(0.0, slowdown), durable_seconds)

    def close_window(self, now: float) -> Pace | None:
        """Begin another window and return the pace of the last one that had steps; None if there was none yet."""
        if self._running_since is not None:
            self.pause(now)
            self.resume(now)
        self._book()
        window, self._window = self._window, Ledger()
        if window.steps and window.seconds > 0:
            self._windows += 1
            # The second window replaces the first, which holds the warm-up.
            self._step_seconds = window.mean() if self._windows <= 2 else _smooth(self._step_seconds, window.mean())  # noqa: PLR2004
            rate = window.steps * self._batch_size / window.seconds
            waited = window.waited / window.steps
            self.pace = Pace(step_seconds=window.mean(), wait_seconds=waited, samples_per_second=rate)
        return self.pace

    def _book(self) -> None:
        """Add what was measured since the last time to the accounts it belongs to."""
        since, self._since = self._since, Ledger()
        self._window.add(since)
        if self._is_saving:
            self._saving.add(since)
        elif self._windows > 0:
            self._usual.add(since)

    def forecast(self, *, steps_left: int, validations_left: int) -> float | None:
        """Return the seconds until the end, or None while nothing is known."""
        if self._step_seconds is None:
            return None
        return steps_left * self._step_seconds + validations_left * (self._validation_seconds or 0.0)


def _smooth(known: float | None, value: float) -> float:
    return value if known is None else known + _SMOOTHING * (value - known)
