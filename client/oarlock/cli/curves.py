"""Small plots of a run's curves for a terminal: dense ones as lines of braille dots, sparse ones as points. Pure."""

import itertools
import math
from collections.abc import Callable, Sequence

from oarlock.cli.wording import format_epochs

Points = Sequence[tuple[float, float]]

_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""Bits of a braille character, by row and column."""
_BLANK = 0x2800
_POINT = "•"


class _Canvas:
    """A grid of dots, two wide and four high in each character, with points that take a whole character each."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width * 2, height * 4
        self._bits = [[0] * width for _ in range(height)]
        self._points: set[tuple[int, int]] = set()

    def draw_line(self, start: tuple[int, int], end: tuple[int, int]) -> None:
        (x0, y0), (x1, y1) = start, end
        steps = max(abs(x1 - x0), abs(y1 - y0), 1)
        for step in range(steps + 1):
            x, y = round(x0 + (x1 - x0) * step / steps), round(y0 + (y1 - y0) * step / steps)
            self._bits[y // 4][x // 2] |= _DOTS[y % 4][x % 2]

    def draw_point(self, x: int, y: int) -> None:
        self._points.add((y // 4, x // 2))

    def format_rows(self, styles: Sequence[str]) -> list[str]:
        return [
            "".join(self._format(row, column, styles) for column in range(self.width // 2))
            for row in range(self.height // 4)
        ]

    def _format(self, row: int, column: int, styles: Sequence[str]) -> str:
        if (row, column) in self._points:
            return f"[{styles[1]}]{_POINT}[/]"
        bits = self._bits[row][column]
        return f"[{styles[0]}]{chr(_BLANK + bits)}[/]" if bits else " "


def plot(
    title: str,
    line: Points,
    points: Points,
    *,
    names: tuple[str, str],
    styles: tuple[str, str],
    size: tuple[int, int],
    label: Callable[[float], str],
    end: Callable[[float], str] = lambda last: f"epoch {format_epochs(last)}",
) -> list[str]:
    """Return the lines of a plot in rich's markup; none if there is nothing to draw.

    `line` is drawn as a line and `points` as points, both by epoch; `names` and `styles` are theirs, and an empty name is left
    out. `size` counts characters and lines, without labels and axes. `label` says how the ends of the vertical axis read, `end`
    how that of the horizontal one does.
    """
    width, height = size
    line, points = _thin(line, width * 2), _thin(points, width)
    if len(line) < 2 and not points:  # noqa: PLR2004  # ends of a line
        return []
    low, high = _find_bounds([y for _, y in (*line, *points)])
    first, last = min(x for x, _ in (*line, *points)), max(x for x, _ in (*line, *points))
    canvas = _Canvas(width, height)
    across, up = (canvas.width - 1) / ((last - first) or 1), (canvas.height - 1) / (high - low)

    def place(spot: tuple[float, float]) -> tuple[int, int]:
        return round((spot[0] - first) * across), canvas.height - 1 - round((spot[1] - low) * up)

    for before, after in itertools.pairwise(line):
        canvas.draw_line(place(before), place(after))
    for point in points:
        canvas.draw_point(*place(point))
    marked = zip(styles, ("━", _POINT), names, strict=True)
    head = f"[bold]{title}[/]" + "".join(f"  [{style}]{mark} {name}[/]" for style, mark, name in marked if name)
    frame = _frame(canvas.format_rows(styles), label(low), label(high))
    return [head, *frame, _format_axis(label(high), label(low), end(last), width)]


def _frame(rows: list[str], low: str, high: str) -> list[str]:
    margin = max(len(low), len(high))
    labels = [high, *[""] * (len(rows) - 2), low]
    return [f"[dim]{label:>{margin}} │[/]{row}" for label, row in zip(labels, rows, strict=True)]


def _format_axis(high: str, low: str, end: str, width: int) -> str:
    margin = max(len(low), len(high))
    return f"[dim]{'':>{margin}} └{'─' * (width - len(end) - 1)} {end}[/]"


def _find_bounds(values: Sequence[float]) -> tuple[float, float]:
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
