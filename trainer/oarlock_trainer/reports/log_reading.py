"""Reads a run's log for a report, without holding all of a long one."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_READ_CLOSELY = 48 * 1024 * 1024
"""Bytes. Of a longer log only some of the steps are read; everything else always."""

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

    def of(self, kind: str) -> list[Line]:
        """Return the events of one kind."""
        return [line for line in self.events if line["kind"] == kind]


def read_log(path: Path) -> Log:
    """Return what the log holds; an empty one if there is none yet."""
    log = Log()
    lists = {"step": log.steps, "pace": log.paces, "validation": log.validations, "checkpoint": log.checkpoints}
    for line in _read_lines(path):
        lists.get(line["kind"], log.events).append(line)
    return log


def _read_lines(path: Path) -> Iterator[Line]:
    if not path.exists():
        return
    stride = 1 + path.stat().st_size // _READ_CLOSELY
    with path.open(encoding="utf-8", errors="replace") as lines:
        for number, text in enumerate(lines):
            if number % stride and text.startswith('{"kind":"step"'):
                continue
            try:
                line = json.loads(text)
            except ValueError:
                continue  # torn by the end of the process that wrote it
            if isinstance(line, dict) and isinstance(line.get("step"), int) and isinstance(line.get("kind"), str):
                yield line
