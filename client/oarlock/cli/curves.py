"""Small plots of a run's curves for a terminal, in braille dots. Pure."""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence

Points = Sequence[tuple[float, float]]

_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""Bits of a braille character, by row and column."""
_BLANK = 0x2800


class _Canvas:
    """A grid of dots, two wide and four high in each character; each character belongs to the curve drawn last."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width * 2, height * 4
        self._bits = [[0] * width for _ in range(height)]
        self._owners = [[-1] * width for _ in range(height)]

    def dot(self, x: int, y: int, owner: int) -> None:
        row, column = y // 4, x // 2
        self._bits[row][column] |= _DOTS[y % 4][x % 2]
        self._owners[row][column] = max(owner, self._owners[row][column])

    def line(self, x0: int, y0: int, x1: int, y1: int, owner: int) -> None:
        steps = max(abs(x1 - x0), abs(y1 - y0), 1)
        for step in range(steps + 1):
            self.dot(round(x0 + (x1 - x0) * step / steps), round(y0 + (y1 - y0) * step / steps), owner)

    def rows(self, styles: Sequence[str]) -> list[str]:
        return [
            "".join(_colour(bits, owner, styles) for bits, owner in zip(bits_row, owners_row, strict=True))
            for bits_row, owners_row in zip(self._bits, self._owners, strict=True)
        ]


def _colour(bits: int, owner: int, styles: Sequence[str]) -> str:
    return f"[{styles[owner]}]{chr(_BLANK + bits)}[/]" if bits else " "


def plot(
    title: str,
    curves: Mapping[str, Points],
    *,
    styles: Sequence[str],
    width: int,
    height: int,
    label: Callable[[float], str],
) -> list[str]:
    """Return the lines of a plot in rich's markup: a title with the curves' names, axes, curves; empty without points.

    `width` counts characters and `height` lines, each without labels and axes; x is the epoch.
    """
    drawn = {name: _thin(points, width * 2) for name, points in curves.items() if len(points) > 1}
    if not drawn:
        return []
    low, high = _bounds([y for points in drawn.values() for _, y in points])
    first = min(points[0][0] for points in drawn.values())
    last = max(points[-1][0] for points in drawn.values())
    canvas = _Canvas(width, height)
    for owner, name in enumerate(curves):
        if name in drawn:
            _draw(canvas, drawn[name], (first, last), (low, high), owner)
    names = "  ".join(f"[{style}]━ {name}[/]" for name, style in zip(curves, styles, strict=False) if name in drawn)
    return [
        f"[bold]{title}[/]  {names}",
        *_frame(canvas.rows(styles), label(low), label(high)),
        _axis(label(high), label(low), last, width),
    ]


def _draw(canvas: _Canvas, points: Points, span: tuple[float, float], bounds: tuple[float, float], owner: int) -> None:
    (first, last), (low, high) = span, bounds
    across, up = (canvas.width - 1) / ((last - first) or 1), (canvas.height - 1) / (high - low)
    spots = [(round((x - first) * across), canvas.height - 1 - round((y - low) * up)) for x, y in points]
    for (x0, y0), (x1, y1) in itertools.pairwise(spots):
        canvas.line(x0, y0, x1, y1, owner)


def _frame(rows: list[str], low: str, high: str) -> list[str]:
    margin = max(len(low), len(high))
    labels = [high, *[""] * (len(rows) - 2), low]
    return [f"[dim]{label:>{margin}} │[/]{row}" for label, row in zip(labels, rows, strict=True)]


def _axis(high: str, low: str, last: float, width: int) -> str:
    margin = max(len(low), len(high))
    end = f"epoch {last:.0f}"
    return f"[dim]{'':>{margin}} └{'─' * (width - len(end) - 1)} {end}[/]"


def _bounds(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    if math.isclose(low, high):
        return low - 0.5, high + 0.5
    return low, high


def _thin(points: Points, buckets: int) -> Points:
    """Return the mean of each stretch of points: one a column at most."""
    if len(points) <= buckets:
        return points
    edges = [len(points) * index // buckets for index in range(buckets + 1)]
    parts = [points[start:end] for start, end in itertools.pairwise(edges)]
    return [(sum(x for x, _ in part) / len(part), sum(y for _, y in part) / len(part)) for part in parts]


def place_side_by_side(left: Sequence[str], right: Sequence[str], *, width: int) -> list[str]:
    """Return the lines of two plots beside each other; `width` is that of the left one with its gap, without markup."""
    if not left or not right:
        return [*left, *right]
    return [f"{one}{' ' * max(1, width - _visible(one))}{two}" for one, two in zip(left, right, strict=True)]


def _visible(markup: str) -> int:
    """Return how many characters of a line are seen."""
    inside, count = False, 0
    for character in markup:
        inside = character == "[" or (inside and character != "]")
        count += not inside and character != "]"
    return count
