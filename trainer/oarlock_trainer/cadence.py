"""When to validate and when to save: pure functions of steps, apart from the time that rank 0 measures and all ranks agree on.

Validation happens when the position passes a multiple of its interval, so a resumed run validates at the very steps of the
undisturbed one. Saving never changes what is learned, so it may depend on the clock.
"""

from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache

from oarlock_api.v1alpha1.recipe import ValidationInterval
from oarlock_api.v1alpha1.training_job import CheckpointInterval

SHARE_FOR_SAVING = 0.01
"""Share of the wall time that periodic checkpoints may cost, unless the user set an interval in steps."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Length:
    """How long a run is and how its epochs fall into steps."""

    steps: int
    batch_size: int
    train_samples: int
    epochs: float | None = None
    """Epochs that the run was asked for; None: it was asked for steps."""

    def epoch(self, step: int) -> float:
        """Return the epochs done after `step` steps; at the end those that were asked for, though its batch may go beyond."""
        done = step * self.batch_size / self.train_samples
        return done if self.epochs is None else min(done, self.epochs)

    def passes(self, step: int, *, epochs: float) -> bool:
        """Say whether a multiple of `epochs` epochs was completed in the last of `step` steps."""
        return self.count_intervals(step, epochs=epochs) > self.count_intervals(step - 1, epochs=epochs)

    def count_intervals(self, steps: int, *, epochs: float) -> int:
        """Return how many times `epochs` epochs are completed in so many steps; exactly, however fine the interval is."""
        numerator, denominator = _read_as_written(epochs)
        return steps * self.batch_size * denominator // (numerator * self.train_samples)


@lru_cache(maxsize=16)
def _read_as_written(number: float) -> tuple[int, int]:
    """Return a decimal number as a ratio: 0.1 is a tenth, as whoever wrote it means, so that ten of them are one."""
    return Fraction(str(number)).as_integer_ratio()


def is_validation_due(step: int, *, every: ValidationInterval, length: Length) -> bool:
    """Say whether to validate after `step` steps; always after the last."""
    if step >= length.steps:
        return True
    if step == 0:
        return False
    if every.steps is not None:
        return step % every.steps == 0
    return length.passes(step, epochs=every.epochs or 1)


def count_validations(step: int, *, every: ValidationInterval, length: Length) -> int:
    """Return how many validations are still to come after `step` steps."""
    if step >= length.steps:
        return 0
    if every.steps is not None:
        regular = length.steps // every.steps - step // every.steps
        return regular + (length.steps % every.steps != 0)
    epochs = every.epochs or 1
    if length.count_intervals(1, epochs=epochs):
        return length.steps - step
    regular = length.count_intervals(length.steps, epochs=epochs) - length.count_intervals(step, epochs=epochs)
    return regular + (not length.passes(length.steps, epochs=epochs))


@dataclass(frozen=True, kw_only=True, slots=True)
class SavePlan:
    """When the next periodic checkpoint is due. Equal on all ranks, since it changes only by what they agreed on."""

    every: CheckpointInterval
    length: Length
    last_step: int
    """Of the last save, or of the start."""
    saved_step: int | None = None
    """The last step whose state is saved or being saved, in this attempt or the one before."""
    due_by_time: bool = False
    worth_it: bool = True

    def is_due(self, step: int) -> bool:
        """Say whether to save after `step` steps."""
        since = step - self.last_step
        if since <= 0:
            return False
        if self.every.steps is not None and since >= self.every.steps:
            return True
        return self.worth_it and (self.due_by_time or self._epochs_passed(since))

    def _epochs_passed(self, since: int) -> bool:
        epochs = self.every.epochs
        return epochs is not None and self.length.count_intervals(since, epochs=epochs) > 0

    def after_save(self, step: int) -> "SavePlan":
        """Return the plan after a save at `step`."""
        return replace(self, last_step=step, saved_step=step, due_by_time=False)

    def after_failed_save(self, step: int) -> "SavePlan":
        """Return the plan after the save at `step` came to nothing; the next one is due when it was due anyway."""
        return replace(self, saved_step=None) if self.saved_step == step else self

    def after_verdict(self, *, save: bool, may_save: bool) -> "SavePlan":
        """Return the plan after the ranks agreed on what rank 0's clock says."""
        return replace(self, due_by_time=self.due_by_time or save, worth_it=may_save)


class SaveClock:
    """What rank 0 knows about time: how long ago the last save was, and what saves cost."""

    def __init__(self, every: CheckpointInterval, *, now: float) -> None:
        self._minutes = every.minutes
        self._last = now
        self._cost = 0.0

    def note_save(self, now: float) -> None:
        self._last = now

    def note_cost(self, seconds: float) -> None:
        """Take up what the last save cost in training time."""
        self._cost = seconds

    def is_due(self, now: float) -> bool:
        """Say whether the interval in minutes has passed."""
        return self._minutes is not None and now - self._last >= 60 * self._minutes

    def is_worth_it(self, now: float) -> bool:
        """Say whether a save now keeps the cost of saving within its share of the wall time."""
        return self._cost <= SHARE_FOR_SAVING * (now - self._last)
