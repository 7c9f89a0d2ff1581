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


class Throughput:
    """Measures one rank's steps."""

    def __init__(self, *, batch_size: int, now: float) -> None:
        self._batch_size = batch_size
        self._running_since: float | None = now
        self._ran = self._waited = 0.0
        self._steps = self._windows = 0
        self._step_seconds: float | None = None
        self._validation_seconds: float | None = None
        self._saving_steps, self._saving_seconds = 0, 0.0
        self._is_saving = False
        self.pace: Pace | None = None
        self.seconds_trained = 0.0

    def count_step(self, wait_seconds: float) -> None:
        """Note a step, and how much of it was waiting for data."""
        self._steps += 1
        self._waited += wait_seconds

    def pause(self, now: float) -> None:
        """Stop the clock: what follows is not training."""
        if self._running_since is not None:
            self._ran += now - self._running_since
            self._running_since = None

    def resume(self, now: float) -> None:
        """Let the clock run again."""
        self._running_since = now

    def note_validation(self, seconds: float) -> None:
        """Take up how long a validation took."""
        self._validation_seconds = _smooth(self._validation_seconds, seconds)

    def begin_save(self) -> None:
        """Note that a save runs in the background from now on."""
        self._is_saving, self._saving_steps, self._saving_seconds = True, 0, 0.0

    def end_save(self, *, stall_seconds: float) -> float:
        """Return what the save cost in training time: the stall, and by how much the steps beside it were slower."""
        self._is_saving = False
        usual = self._step_seconds or 0.0
        return stall_seconds + max(0.0, self._saving_seconds - usual * self._saving_steps)

    def close_window(self, now: float) -> Pace | None:
        """Begin another window and return the pace of the last one that had steps; None if there was none yet."""
        running = self._running_since is not None
        self.pause(now)
        if running:
            self.resume(now)
        steps, ran, waited = self._steps, self._ran, self._waited
        self._steps, self._ran, self._waited = 0, 0.0, 0.0
        self.seconds_trained += ran
        if steps == 0 or ran <= 0:
            return None
        self._learn(steps, ran)
        return Pace(
            step_seconds=ran / steps, wait_seconds=waited / steps, samples_per_second=steps * self._batch_size / ran
        )

    def _learn(self, steps: int, ran: float) -> None:
        self._windows += 1
        if self._is_saving:
            self._saving_steps += steps
            self._saving_seconds += ran
        elif self._windows <= 2:  # noqa: PLR2004  # the second window replaces the first, which holds the warm-up
            self._step_seconds = ran / steps
        else:
            self._step_seconds = _smooth(self._step_seconds, ran / steps)

    def forecast(self, *, steps_left: int, validations_left: int) -> float | None:
        """Return the seconds until the end, or None while nothing is known."""
        if self._step_seconds is None:
            return None
        return steps_left * self._step_seconds + validations_left * (self._validation_seconds or 0.0)


def _smooth(known: float | None, value: float) -> float:
    return value if known is None else known + _SMOOTHING * (value - known)
