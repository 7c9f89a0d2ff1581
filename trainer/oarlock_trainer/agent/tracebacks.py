"""The exception that ended a program, in what it printed: its own, not the one by which torchrun says that a rank failed. Pure."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

_START = "Traceback (most recent call last):"
_END = re.compile(r"(?:[A-Za-z_]\w*\.)*([A-Za-z_]\w*)(?::.*)?")
_FROM_TORCHRUN = frozenset({"ChildFailedError", "SignalException"})
_MAX_SUMMARY = 300
_MAX_LINES = 30
_CHILD = re.compile(r"^\s*exitcode\s*: (-?\d+) \(pid: \d+\)")
_CHILD_RANK = re.compile(r"^\s*rank\s*: (\d+) \(local_rank: \d+\)")
_PREFIX = re.compile(r"^(?:\[[^\]]*\]:?\s?)?")
"""torchrun can put the rank before each line."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Raised:
    """An exception as Python prints it."""

    summary: str
    """Its type and message, one line."""
    traceback: str
    """The end of its traceback."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ChildFailure:
    """What torchrun says of the rank that failed first."""

    rank: int
    """Global rank."""
    code: int
    """Its exit code; negative: the signal that killed it."""


def find_child_failure(lines: Sequence[str]) -> ChildFailure | None:
    """Return what torchrun printed of the first failure; None if it did not."""
    ends = [match for line in lines if (match := _CHILD.search(line))]
    ranks = [match for line in lines if (match := _CHILD_RANK.search(line))]
    if not ends:
        return None
    return ChildFailure(rank=int(ranks[-1][1]) if ranks else 0, code=int(ends[-1][1]))


def find_exception(lines: Sequence[str]) -> Raised | None:
    """Return the last exception in the output that is the program's; None if there is none."""
    found: Raised | None = None
    start: int | None = None
    for number, raw in enumerate(lines):
        line = _PREFIX.sub("", raw, count=1)
        if _START in line:
            start = number
        elif start is not None and line and not line[0].isspace() and (match := _END.fullmatch(line)):
            if match[1] not in _FROM_TORCHRUN:
                block = lines[max(start, number + 1 - _MAX_LINES) : number + 1]
                found = Raised(summary=line[:_MAX_SUMMARY], traceback="\n".join(block))
            start = None
    return found
