"""What a step's time goes on, as the log tells it: as finely as it does, so that logs of versions before have a chart too. Pure."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from oarlock_api.metrics import COMPUTING_PARTS
from oarlock_trainer.reports.facts import Chart, Curve, Share
from oarlock_trainer.reports.log_reading import Line, Log


@dataclass(frozen=True, kw_only=True, slots=True)
class _Part:
    """A part of a step."""

    figure: str
    """Its name in the log."""
    name: str
    colour: int
    """The same wherever it is shown."""


_WAITING = _Part(figure="dataWaitSeconds", name="waiting for data", colour=1)
_COMPUTING = _Part(figure="computeSeconds", name="computing", colour=0)
_GREY = 9
_NAMES = (("preparing", 5), ("forward", 0), ("backward", 3), ("optimizer", 2), ("other", 7))
_FINE = tuple(
    _Part(figure=figure, name=name, colour=colour)
    for figure, (name, colour) in zip(COMPUTING_PARTS, _NAMES, strict=True)
)


def build_step_chart(log: Log, across: str) -> Chart:
    """Return the chart of a step's parts, one on top of the other; of a program, which does not divide it, its whole time."""
    parts = (_WAITING, *_FINE) if _knows_parts(log) else (_WAITING, _COMPUTING)
    # What the log does not divide as finely as the rest, its first steps on a GPU for example, has no place in the stack.
    lines = [line for line in log.paces if all(part.figure in line for part in parts)]
    curves = [
        Curve(name=part.name, points=[(line[across], line[part.figure]) for line in lines], colour=part.colour)
        for part in parts
    ]
    if not lines:
        whole = [(line[across], line["stepSeconds"]) for line in log.paces if "stepSeconds" in line]
        curves = [Curve(name="all of it", points=whole)] if whole else []
    return Chart(title="Time of a step", unit="s", across=across, curves=tuple(curves), stacked=bool(lines))


def list_step_shares(log: Log) -> Iterator[Share]:
    """Return what all steps went on."""
    sums = dict.fromkeys((part.figure for part in (*_FINE, _COMPUTING, _WAITING)), 0.0)
    for (before, at), line in zip(_bounds(log.paces), log.paces, strict=True):
        for figure, seconds in _divide(line):
            sums[figure] += max(0, at - before) * seconds
    tells_waiting = any(_WAITING.figure in line for line in log.paces)
    name, colour = ("computing" if tells_waiting else "steps"), _COMPUTING.colour
    if _knows_parts(log):
        name, colour = "computing, not divided", _GREY
    yield Share(name=_WAITING.name, seconds=sums[_WAITING.figure], colour=_WAITING.colour)
    for part in _FINE if _knows_parts(log) else ():
        yield Share(name=part.name, seconds=sums[part.figure], colour=part.colour)
    yield Share(name=name, seconds=sums[_COMPUTING.figure], colour=colour)


def _knows_parts(log: Log) -> bool:
    return any(_has_parts(line) for line in log.paces)


def _has_parts(line: Line) -> bool:
    return all(part.figure in line for part in (_WAITING, *_FINE))


def _divide(line: Line) -> Iterator[tuple[str, float]]:
    """Yield the parts of a step, as finely as a line tells them."""
    if "stepSeconds" not in line:
        return
    waited = line.get(_WAITING.figure, 0.0)
    yield _WAITING.figure, waited
    if _has_parts(line):
        yield from ((part.figure, line[part.figure]) for part in _FINE)
    else:
        yield _COMPUTING.figure, line["stepSeconds"] - waited


def _bounds(lines: Sequence[Line]) -> Iterator[tuple[int, int]]:
    return itertools.pairwise([0, *(line["step"] for line in lines)])
