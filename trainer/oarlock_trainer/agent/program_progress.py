"""How far a program is, by the lines of JSON that it appends to its progress file.

Whatever is in the file was written by a stranger: its size, its lines and their values are bounded, and a line that makes no
sense costs a warning, never the run. Standard library only; time is a parameter.
"""

import json
import math
import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from oarlock_api.metrics import METRICS_BY_NAME, RESERVED_NAMES

MAX_LINE_BYTES = 16 * 1024
MAX_READ_BYTES = 256 * 1024
"""Read at one look; what is left is read at the next."""
MAX_METRICS = 32
_LARGEST = 2**53
_OWN_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.\-/]{0,63}")
_COUNTERS = ("step", "steps", "epoch", "epochs")
_ABBREVIATIONS = {"loss": "train/loss", "accuracy": "train/accuracy"}
"""What a program may call figures of the table in `oarlock_api.metrics`, beside their full names."""


class BadLineError(ValueError):
    """A line that cannot be used: what it must be, and what it is."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ProgressLine:
    """One line that makes sense; what it does not say is None."""

    step: int | None = None
    steps: int | None = None
    epoch: float | None = None
    epochs: float | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    """Finite ones and others."""
    problem: str = ""
    """What of it is not used, and why."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ProgramProgress:
    """What all lines so far say together."""

    lines: int = 0
    """Lines that made sense."""
    step: int | None = None
    steps: int = 0
    epoch: float = 0.0
    epochs: float = 0.0
    metrics: Mapping[str, float] = field(default_factory=dict)
    since: float = 0.0
    """When the last of them was seen."""
    first: tuple[int, float] | None = None
    """Step that was reported first by this start of the program, and when."""
    refused: str = ""
    """What was wrong with the first line that was not used at all."""
    left_out: str = ""
    """What was wrong with the first figure that was left out of a line that was used."""

    def updated(self, line: ProgressLine, *, now: float) -> "ProgramProgress":
        step = self.step if line.step is None else line.step
        return replace(
            self,
            lines=self.lines + 1,
            step=step,
            steps=self.steps if line.steps is None else line.steps,
            epoch=self.epoch if line.epoch is None else line.epoch,
            epochs=self.epochs if line.epochs is None else line.epochs,
            metrics=dict(list({**self.metrics, **line.metrics}.items())[:MAX_METRICS]),
            since=now,
            first=self.first or (None if step is None else (step, now)),
            left_out=self.left_out or line.problem,
        )

    def refused_line(self, problem: str) -> "ProgramProgress":
        return replace(self, refused=self.refused or problem)

    def to_report(self) -> dict[str, Any]:
        """Return the facts by field name of `WorkerStatus`."""
        finite = {name: value for name, value in self.metrics.items() if math.isfinite(value)}
        facts: dict[str, Any] = {"steps": self.steps, "epoch": self.epoch, "epochs": self.epochs, "metrics": finite}
        facts["non_finite"] = sorted(self.metrics.keys() - finite.keys())
        facts["eta_seconds"] = self._forecast()
        if warnings := list(self._list_warnings()):
            facts["warnings"] = warnings
        return facts

    def _list_warnings(self) -> Iterator[str]:
        """Say each of the two sorts once: a text that counts lines would be another warning with every line."""
        if self.refused:
            yield f"lines of the progress file are not used; the first: {self.refused}"
        if self.left_out:
            yield f"figures of the progress file are left out; the first: {self.left_out}"

    def _forecast(self) -> float | None:
        """Return the seconds to the last step, by the pace since the first report; None while nobody can know."""
        if self.first is None or self.step is None or self.steps <= 0:
            return None
        done, seconds = self.step - self.first[0], self.since - self.first[1]
        return max(0, self.steps - self.step) * seconds / done if done > 0 and seconds > 0 else None


def parse_line(text: bytes) -> ProgressLine:
    """Read one line.

    Raises:
        BadLineError: if it is not a JSON object, or a counter of it is no number.
    """
    try:
        wire = json.loads(text)
    except (ValueError, RecursionError):
        raise BadLineError(f"a line must be a JSON object, found {text[:60]!r}") from None
    if not isinstance(wire, dict):
        raise BadLineError(f"a line must be a JSON object, found {text[:60]!r}")
    counters = {name: _read_counter(name, wire[name]) for name in _COUNTERS if wire.get(name) is not None}
    metrics, problem = _read_metrics(wire)
    return ProgressLine(
        step=_whole(counters, "step"),
        steps=_whole(counters, "steps"),
        epoch=counters.get("epoch"),
        epochs=counters.get("epochs"),
        metrics=metrics,
        problem=problem,
    )


def _whole(counters: Mapping[str, float], name: str) -> int | None:
    return int(counters[name]) if name in counters else None


def _read_counter(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _LARGEST:
        raise BadLineError(f"{name} must be a number of at least 0, found {str(value)[:60]!r}")
    return value


def _read_metrics(wire: Mapping[str, Any]) -> tuple[dict[str, float], str]:
    """Return the figures that can be used, and why the first of the others cannot: one of them costs only itself."""
    below = wire.get("metrics", {})
    problems = [] if isinstance(below, Mapping) else [f"metrics must be an object, found {str(below)[:60]!r}"]
    named = {name: wire[name] for name in _ABBREVIATIONS if name in wire}
    metrics = {}
    for name, value in {**named, **(below if isinstance(below, Mapping) else {})}.items():
        full = _ABBREVIATIONS.get(name, name)
        if problem := _find_problem(full, value):
            problems.append(problem)
        else:
            metrics[full] = _to_float(value)
    return metrics, problems[0] if problems else ""


def _find_problem(name: str, value: Any) -> str:
    if name not in METRICS_BY_NAME and not _OWN_NAME.fullmatch(name):
        return f"the name of a metric must be a letter, then letters, digits and _.-/ (64 at most), found {name[:80]!r}"
    if name in RESERVED_NAMES:
        return f"a metric cannot be called {name}, which the run log needs"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return f"the metric {name} must be a number, found {str(value)[:60]!r}"
    return ""


def _to_float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:  # a whole number with hundreds of digits
        return math.inf


class ProgressFile:
    """Reads what is appended to a file, from look to look. A file that shrinks, or is replaced, is read from its start."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._inode = 0
        self._rest = b""
        self._skips = False
        """Whether what comes is the rest of a line that is too long."""

    def read_lines(self) -> Iterator[bytes]:
        """Yield the lines that are new and complete.

        Raises:
            BadLineError: for one that is too long, between the others.
            OSError: if the file cannot be read.
        """
        content = self._rest + self._read_new()
        *lines, self._rest = content.split(b"\n")
        if len(self._rest) > MAX_LINE_BYTES:
            self._rest, self._skips = b"", True
        for line in lines:
            skipped, self._skips = self._skips, False
            if skipped or len(line) > MAX_LINE_BYTES:
                yield b"(a line of more than 16 KiB)"
            elif line.strip():
                yield line

    def _read_new(self) -> bytes:
        try:
            # Neither a link to somewhere else nor a pipe, which would hold the agent up.
            descriptor = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return b""
        try:
            facts = os.fstat(descriptor)
            if not stat.S_ISREG(facts.st_mode):
                return b""
            if facts.st_ino != self._inode or facts.st_size < self._offset:
                self._inode, self._offset, self._rest = facts.st_ino, 0, b""
            content = os.pread(descriptor, MAX_READ_BYTES, self._offset)
            self._offset += len(content)
            return content
        finally:
            os.close(descriptor)
