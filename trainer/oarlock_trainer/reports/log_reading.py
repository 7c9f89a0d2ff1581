"""Reads a run's log for a report, without holding all of a long one.

The log may be that of a program of the user's, or have been touched by hand: a line whose values are not what they must be is
left out and counted, so that whoever shows a line can rely on its types.
"""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

_READ_CLOSELY = 48 * 1024 * 1024
"""Bytes. Of a longer log only some of the steps are read; everything else always."""
_LARGEST = 1e100
"""Beyond it, what is drawn or added up would not be finite."""
_LARGEST_STEP = 2**53
_LAST_TIME = 1e11
"""Seconds since 1970: some thousand years."""
_OF_FIGURES = frozenset({"step", "pace", "validation"})
"""Kinds of lines that hold figures beside these:"""
_NO_FIGURES = frozenset({"kind", "nonFinite", "message"})
_SECONDS = ("startSeconds", "checkpointStallSeconds", "checkpointDurableSeconds", "seconds")

Line = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """The lines of a log by their kind, in their order."""

    steps: list[Line] = field(default_factory=list)
    paces: list[Line] = field(default_factory=list)
    validations: list[Line] = field(default_factory=list)
    checkpoints: list[Line] = field(default_factory=list)
    events: list[Line] = field(default_factory=list)
    """All others: starts, warnings, the end."""
    left_out: int = 0
    """Whole lines that make no sense."""

    def of(self, kind: str) -> list[Line]:
        """Return the events of one kind."""
        return [line for line in self.events if line["kind"] == kind]


def read_log(path: Path) -> Log:
    """Return what the log holds; an empty one if there is none yet."""
    log = Log()
    lists = {"step": log.steps, "pace": log.paces, "validation": log.validations, "checkpoint": log.checkpoints}
    left_out = 0
    for line in _read_lines(path):
        if line is None:
            left_out += 1
        else:
            lists.get(line["kind"], log.events).append(line)
    return replace(log, left_out=left_out)


def _read_lines(path: Path) -> Iterator[Line | None]:
    if not path.exists():
        return
    stride = 1 + path.stat().st_size // _READ_CLOSELY
    with path.open(encoding="utf-8", errors="replace") as lines:
        for number, text in enumerate(lines):
            if number % stride and text.startswith('{"kind":"step"'):
                continue
            line = _parse(text)
            if line is not None or text.endswith("\n"):  # else it was torn by the end of the process that wrote it
                yield line


def _parse(text: str) -> Line | None:
    """Return the line, or None if its values are not what they must be."""
    try:
        line = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return line if isinstance(line, dict) and _has_an_envelope(line) and _has_good_values(line) else None


def _has_an_envelope(line: Line) -> bool:
    """Say whether it tells its kind and step; what is not of figures has its time, too."""
    kind, step = line.get("kind"), line.get("step")
    if not isinstance(kind, str) or not isinstance(step, int) or isinstance(step, bool):
        return False
    if not 0 <= step <= _LARGEST_STEP or not _is_number(line.get("epoch", 0), least=0):
        return False
    return ("time" not in line and kind in _OF_FIGURES) or _is_number(line.get("time"), least=0, most=_LAST_TIME)


def _has_good_values(line: Line) -> bool:
    if not all(_is_number(line[name], least=0, most=line.get("time", _LAST_TIME)) for name in _SECONDS if name in line):
        return False
    if line["kind"] in _OF_FIGURES:
        return all(_is_number(value) for name, value in line.items() if name not in _NO_FIGURES)
    return line["kind"] != "checkpoint" or _describes_a_checkpoint(line.get("checkpoint") or {})


def _describes_a_checkpoint(facts: object) -> bool:
    if not isinstance(facts, Mapping):
        return False
    if not all(_is_number(facts[name], least=0) for name in ("step", "epoch", "bytes") if name in facts):
        return False
    time, metric = facts.get("time"), facts.get("metric")
    return (time is None or _is_number(time, least=0, most=_LAST_TIME)) and (metric is None or _is_number(metric))


def _is_number(value: object, *, least: float = -_LARGEST, most: float = _LARGEST) -> bool:
    """Say whether it is a finite number within bounds; JSON as Python reads it has others."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return least <= value <= most and math.isfinite(value)
