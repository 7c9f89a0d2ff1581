"""Notices that training has diverged: once the weights hold a NaN, every later loss is one, and no step helps any more."""

import math
from collections.abc import Iterable

from oarlock_trainer.errors import NonFiniteError

PATIENCE_STEPS = 10
"""Consecutive steps without a finite loss after which the run ends."""

_REMEDY = "lower recipe.optimizer.learningRate, lengthen schedule.warmupFraction or set gradientClipNorm"


class DivergenceWatch:
    """Sees the losses of all ranks in the order of the steps, so that all ranks end at the same one."""

    def __init__(self, *, remedy: str = _REMEDY) -> None:
        self._since: int | None = None
        self._remedy = remedy

    @property
    def is_finite(self) -> bool:
        """Whether the last loss was."""
        return self._since is None

    def see(self, first_step: int, losses: Iterable[float]) -> None:
        """Take up the losses of consecutive steps.

        Raises:
            NonFiniteError: if they have not been finite for too long.
        """
        for step, loss in enumerate(losses, start=first_step):
            if math.isfinite(loss):
                self._since = None
                continue
            self._since = step if self._since is None else self._since
            if step - self._since + 1 >= PATIENCE_STEPS:
                raise NonFiniteError(
                    f"the training loss is not finite since step {self._since} ({PATIENCE_STEPS} steps in a row)",
                    remedy=self._remedy,
                )

    def end(self) -> None:
        """Take up the end of the run.

        Raises:
            NonFiniteError: if its last loss was not finite.
        """
        if self._since is not None:
            raise NonFiniteError(
                f"the training loss is not finite from step {self._since} to the end of the run",
                remedy=self._remedy,
            )
