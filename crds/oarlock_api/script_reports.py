"""What agents report of a user's own program, beyond what they report of every pod. Standard library only. Pure."""

from dataclasses import dataclass
from enum import StrEnum

from oarlock_api.record import Record


class ScriptLevel(StrEnum):
    """How much a program tells of itself."""

    WATCHED = "L0"
    """Nothing: its processes and what they print are all that is known."""
    PROGRESS = "L1"
    """Rank 0 appends to the progress file."""
    SESSION = "L2"
    """It runs in an `oarlock_trainer.session`, with checkpoints and exact resume."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ScriptActivity(Record):
    """Signs of life of a program, all processes of node 0 together."""

    cpu_seconds: float = 0.0
    """Seconds that its processes have computed."""
    cpu_cores: float | None = None
    """Cores that they kept busy in the last seconds."""
    last_output: float | None = None
    """Seconds since 1970 at which it last printed something."""
