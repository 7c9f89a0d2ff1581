"""How long a training process took from its start to its first step, by phase. Standard library only. Pure: times are given."""

from oarlock_api.contract import PodPhase

FIRST_STEP = "firstStep"


class StartupClock:
    """Adds up the seconds of each phase until the first step is done; what comes later is no part of the start."""

    def __init__(self, *, now: float, age: float = 0.0) -> None:
        """Begin at the process's own start, `age` seconds before `now`, a time of a monotonic clock."""
        self._phase, self._since, self._last = PodPhase.STARTING, now - age, now
        self._is_over = False
        self.seconds: dict[str, float] = {}
        """By phase, in their order; `firstStep` is what followed the last sign of progress before the first step."""

    def note(self, phase: PodPhase, now: float, *, step: int | None) -> bool:
        """Take up a sign of progress; say whether it was the first step."""
        if self._is_over:
            return False
        self._is_over = phase is PodPhase.TRAINING and step is not None
        if self._is_over:
            self._book(self._phase.value, self._last)
            self._book(FIRST_STEP, now)
        elif phase is not self._phase:
            self._book(self._phase.value, now)
            self._phase = phase
        self._last = now
        return self._is_over

    def _book(self, name: str, until: float) -> None:
        self.seconds[name] = self.seconds.get(name, 0.0) + until - self._since
        self._since = until
