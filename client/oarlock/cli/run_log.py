"""Reads a run's log for its curves, without holding all of a long one."""

import json
from dataclasses import dataclass, field
from pathlib import Path

Curve = list[tuple[float, float]]

_BYTES_READ_CLOSELY = 4 * 1024 * 1024
"""Of a longer log, only some of the steps are read; validations always."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Curves:
    """Values by epoch."""

    loss: dict[str, Curve] = field(default_factory=dict)
    """By split."""
    accuracy: dict[str, Curve] = field(default_factory=dict)


def read_curves(path: Path) -> Curves:
    """Return the curves of a run; empty ones if there is no log yet."""
    curves = Curves(loss={"train": [], "validation": []}, accuracy={"train": [], "validation": []})
    if not path.exists():
        return curves
    stride = 1 + path.stat().st_size // _BYTES_READ_CLOSELY
    with path.open(encoding="utf-8", errors="replace") as lines:
        for number, line in enumerate(lines):
            if number % stride == 0 or '"kind":"validation"' in line:
                _take(line, curves)
    return curves


def _take(text: str, curves: Curves) -> None:
    try:
        line = json.loads(text)
        epoch = float(line["epoch"])
    except (ValueError, KeyError, TypeError):
        return  # an event, or torn by the end of the process that wrote it
    for quantity, by_split in (("loss", curves.loss), ("accuracy", curves.accuracy)):
        for split, curve in by_split.items():
            value = line.get(f"{split}/{quantity}")
            if isinstance(value, int | float):
                curve.append((epoch, float(value)))
