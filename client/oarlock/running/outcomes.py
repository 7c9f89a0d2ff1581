"""How a run ended: what the exit code, the summary and the JSON report are made of. Pure."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

EXIT_SUCCESS = 0
EXIT_FAILED = 1
EXIT_INVALID = 2
EXIT_SUSPENDED = 75
"""EX_TEMPFAIL, as the trainer's own: try again to go on."""
EXIT_KILLED = 130


class End(StrEnum):
    """How one object came to its end."""

    SUCCEEDED = "succeeded"
    ALREADY = "already"
    """It had succeeded before; nothing was done."""
    FAILED = "failed"
    SUSPENDED = "suspended"
    KILLED = "killed"


EXIT_CODES = {
    End.SUCCEEDED: EXIT_SUCCESS,
    End.ALREADY: EXIT_SUCCESS,
    End.FAILED: EXIT_FAILED,
    End.SUSPENDED: EXIT_SUSPENDED,
    End.KILLED: EXIT_KILLED,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """How one object ended."""

    end: End
    object: dict[str, Any]
    """The object as it is at the end."""
    seconds: float
    """How long it took in this run of the command."""
    warnings: tuple[str, ...] = ()
    """What the user should know though it went on."""


def find_exit_code(outcomes: list[Outcome]) -> int:
    """Return the exit code of the command: that of the first object that did not end well."""
    return next((EXIT_CODES[o.end] for o in outcomes if EXIT_CODES[o.end] != EXIT_SUCCESS), EXIT_SUCCESS)
