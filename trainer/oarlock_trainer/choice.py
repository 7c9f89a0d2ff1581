"""What the trainer chose for a field of the recipe, and why."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """One figure that was searched for."""

    value: float
    reason: str
    """A sentence that names the figure."""
    curve: Sequence[tuple[float, float]] = ()
    """What was tried, in order: a figure, and what came of it."""
