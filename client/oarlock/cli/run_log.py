"""Reads a run's log for its curves and its end, without holding all of a long one."""

import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

Curve = list[tuple[float, float]]

_BYTES_READ_CLOSELY = 4 * 1024 * 1024
"""Of a longer log, only some of the steps are read; validations always."""
_LAST_STEPS = 1000
"""Most steps at the end of a run whose figures are averaged."""
_LAST_BYTES = 4 * 1024 * 1024
"""Bytes before the end of a log in which they are."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Curves:
    """Values by epoch."""

    loss: dict[str, Curve] = field(default_factory=dict)
    """By split."""
    figure: dict[str, Curve] = field(default_factory=dict)
    """Of what the task is judged by besides the loss, by split."""


def read_curves(path: Path, *, quantity: str) -> Curves:
    """Return the curves of a run's loss and of `quantity`; empty ones if there is no log yet."""
    curves = Curves(loss={"train": [], "validation": []}, figure={"train": [], "validation": []})
    if not path.exists():
        return curves
    stride = 1 + path.stat().st_size // _BYTES_READ_CLOSELY
    with path.open(encoding="utf-8", errors="replace") as lines:
        for number, line in enumerate(lines):
            if number % stride == 0 or '"kind":"validation"' in line:
                _take(line, curves, quantity)
    return curves


def _take(text: str, curves: Curves, figure: str) -> None:
    try:
        line = json.loads(text)
        epoch = float(line["epoch"])
    except (ValueError, KeyError, TypeError):
        return  # an event, or torn by the end of the process that wrote it
    for quantity, by_split in (("loss", curves.loss), (figure, curves.figure)):
        for split, curve in by_split.items():
            value = line.get(f"{split}/{quantity}")
            if isinstance(value, int | float):
                curve.append((epoch, float(value)))


@dataclass(frozen=True, kw_only=True, slots=True)
class LastSteps:
    """The end of a run's training."""

    steps: int
    """Steps that are averaged: those of the last epoch, or the last thousand of a longer one."""
    means: dict[str, float]
    """By the names of the figures, those that every one of these steps has."""


def read_last_steps(path: Path, names: Sequence[str]) -> LastSteps | None:
    """Return the means of some figures over the end of a run; None if there is no step in its log.

    They depend on nothing but the steps, so that a run that was interrupted tells the same as one that was not.
    """
    found = _read_steps(path)
    begin = found[-1]["epoch"] - 1.0 if found else 0.0
    last = [line for line in found if line["epoch"] > begin][-_LAST_STEPS:]
    means = {
        name: math.fsum(line[name] for line in last) / len(last)
        for name in names
        if last and all(isinstance(line.get(name), int | float) for line in last)
    }
    return LastSteps(steps=len(last), means=means) if means else None


def _read_steps(path: Path) -> list[dict[str, float]]:
    """Return the lines of the last steps, the newest last."""
    try:
        with path.open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - _LAST_BYTES))
            lines = log.read().splitlines()
    except OSError:
        return []
    steps = []
    for text in lines:
        if b'"kind":"step"' in text and text.endswith(b"}"):
            try:
                steps.append({"epoch": 0.0, **json.loads(text)})
            except ValueError:
                continue  # the first of those that are read may lack its beginning
    return steps
