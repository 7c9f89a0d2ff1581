"""Line charts as SVG, drawn once and for all: no script is needed to see them. Pure.

Colours come from the page's style sheet, so that a chart follows the light or dark of its reader.
"""

import itertools
import json
import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from markupsafe import Markup, escape

from oarlock_trainer.reports.facts import Chart, Curve, Points
from oarlock_trainer.reports.wording import say_figure, say_number

WIDTH, HEIGHT = 520.0, 250.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 62.0, 14.0, 12.0, 30.0
_MOST_POINTS = 360
_DENSE = 120
"""Curves with fewer points are drawn as they are."""
_NOISY = 4.0
"""A curve that travels this many times its own height is noisy: it is drawn faintly, with a smooth one over it."""
_SMOOTHING_SHARE = 0.02
_COLOURS = 8
_TICKS = 5
_NEAR_ZERO = 0.5
_BAR = 40.0
"""Width of a stack that is there once."""
_TALL = 4.0
"""What is so many times as tall as is usual in its stack goes beyond the paper."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Frame:
    """Where values are on the paper."""

    across: tuple[float, float]
    up: tuple[float, float]

    def x(self, value: float) -> float:
        low, high = self.across
        return _LEFT + (value - low) / (high - low) * (WIDTH - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        low, high = self.up
        return HEIGHT - _BOTTOM - (value - low) / (high - low) * (HEIGHT - _TOP - _BOTTOM)


def draw_chart(chart: Chart) -> Markup:
    """Return the chart as an SVG element; empty if it has no points."""
    if chart.stacked:
        return _draw_stack(chart)
    points = [point for curve in chart.curves for point in curve.points if all(map(math.isfinite, point))]
    if not points:
        return Markup("")
    frame = _Frame(
        across=chart.bounds or _find_extent([x for x, _ in points]),
        up=chart.bounds or _find_bounds([y for _, y in points], margin=0.05, unit=chart.unit),
    )
    parts = [*_draw_axes(chart, frame)]
    number = 0
    for curve in chart.curves:
        parts += _draw_curve(curve, frame, "ref" if curve.reference else f"c{choose_colour(curve, number)}")
        number += not curve.reference
    return _build_svg(chart, frame, parts)


def _build_svg(chart: Chart, frame: _Frame, parts: Sequence[str]) -> Markup:
    body = "".join(parts)
    return Markup(  # noqa: S704  # every text in it is escaped where it is put in
        f'<svg class="chart" viewBox="0 0 {WIDTH:.0f} {HEIGHT:.0f}" role="img" aria-label="{escape(chart.title)}"'
        f' data-chart="{escape(_pack(chart, frame))}">{body}<line class="hair" y1="{_TOP}" y2="{HEIGHT - _BOTTOM}"/></svg>'
    )


def _draw_stack(chart: Chart) -> Markup:
    """Draw the curves as areas, one on top of the other, from nothing on."""
    curves = [replace(curve, points=average(curve.points)) for curve in chart.curves]
    edges = pile_up([curve.points for curve in curves])
    if not edges[-1]:
        return Markup("")
    frame = _Frame(across=_find_extent([x for x, _ in edges[-1]]), up=(0.0, _find_top([y for _, y in edges[-1]])))
    areas = [
        _draw_area(lower, upper, frame, f"area c{choose_colour(curve, number)}")
        for number, (curve, (lower, upper)) in enumerate(zip(curves, itertools.pairwise(edges), strict=True))
    ]
    named = replace(chart, curves=(*curves, Curve(name="together", points=edges[-1])))
    return _build_svg(named, frame, [*areas, *_draw_axes(chart, frame)])


def _find_top(heights: Sequence[float]) -> float:
    """Return where the paper ends: a first step, that compiles for a minute, must not press all others to the ground."""
    return 1.05 * min(max(heights), _TALL * statistics.median(heights) or math.inf) or 1.0


def pile_up(layers: Sequence[Points]) -> list[list[tuple[float, float]]]:
    """Return the edges between layers that lie one on top of the other: the ground first; what is less than nothing has no height."""
    edges = [[(x, 0.0) for x, _ in layers[0]] if layers else []]
    for layer in layers:
        edges.append([(x, below + max(0.0, y)) for (x, y), (_, below) in zip(layer, edges[-1], strict=True)])
    return edges


def average(points: Points, most: int = _DENSE) -> list[tuple[float, float]]:
    """Return at most `most` of many points, each the mean of a stretch of them."""
    stretches = min(len(points), most)
    means = []
    for number in range(stretches):
        part = points[len(points) * number // stretches : len(points) * (number + 1) // stretches]
        means.append((sum(x for x, _ in part) / len(part), sum(y for _, y in part) / len(part)))
    return means


def _draw_area(lower: Points, upper: Points, frame: _Frame, style: str) -> str:
    # A single place has a width all the same, so that it is seen.
    half = _BAR / 2 if len(upper) == 1 else 0.0
    sides = (-half, half) if half else (0.0,)
    top = frame.up[1]
    there = [(frame.x(x) + side, frame.y(min(y, top))) for x, y in upper for side in sides]
    back = [(frame.x(x) + side, frame.y(min(y, top))) for x, y in lower for side in sides]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (*there, *reversed(back)))
    return f'<polygon class="{style}" points="{path}"/>'


def choose_colour(curve: Curve, place: int) -> int:
    """Return the number of a curve's colour, `place` being its own among the curves of its chart."""
    return (place if curve.colour is None else curve.colour) % _COLOURS


def smooth(points: Points) -> list[tuple[float, float]]:
    """Return the mean of each point with as many on its left as on its right, so that nothing lags; fewer near the ends."""
    reach = max(2, round(_SMOOTHING_SHARE * len(points)))
    sums = [0.0, *itertools.accumulate(y for _, y in points)]
    smoothed = []
    for index, (x, _) in enumerate(points):
        half = min(reach, index, len(points) - 1 - index)
        smoothed.append((x, (sums[index + half + 1] - sums[index - half]) / (2 * half + 1)))
    return smoothed


def is_noisy(points: Points) -> bool:
    """Say whether a curve goes up and down so often that its course is seen better with a smooth one over it."""
    if len(points) <= _DENSE:
        return False
    ways = sum(abs(later - earlier) for (_, earlier), (_, later) in itertools.pairwise(points))
    return ways > _NOISY * (max(y for _, y in points) - min(y for _, y in points))


def thin(points: Points, most: int = _MOST_POINTS) -> list[tuple[float, float]]:
    """Return at most `most` of many points, the lowest and the highest of each stretch among them."""
    if len(points) <= most:
        return list(points)
    buckets = most // 2
    thinned: list[tuple[float, float]] = []
    for bucket in range(buckets):
        part = points[len(points) * bucket // buckets : len(points) * (bucket + 1) // buckets]
        ends = {min(part, key=lambda point: point[1]), max(part, key=lambda point: point[1])}
        thinned += sorted(ends)
    return thinned


def find_ticks(low: float, high: float, count: int = _TICKS) -> list[float]:
    """Return round numbers between `low` and `high`, about `count` of them."""
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next((power * factor for factor in (1, 2, 2.5, 5) if power * factor >= rough), power * 10)
    first = math.ceil(low / step - 1e-9)
    return [number * step for number in range(first, math.floor(high / step + 1e-9) + 1)]


def _find_extent(values: Sequence[float]) -> tuple[float, float]:
    """Return the ends of the horizontal axis: from nothing on, unless what is shown began much later."""
    low, high = _find_bounds(values, margin=0.0)
    return (0.0 if 0 < low < _NEAR_ZERO * high else low), high


def _find_bounds(values: Sequence[float], *, margin: float, unit: str = "") -> tuple[float, float]:
    low, high = min(values), max(values)
    is_flat = high - low <= 1e-12 * max(abs(low), abs(high), 1e-12)
    room = (abs(low) * 0.1 or 0.5) if is_flat else margin * (high - low)
    top = min(high + room, 1.0) if unit == "ratio" and high <= 1 else high + room
    return (max(0.0, low - room) if low >= 0 else low - room), top


def _draw_axes(chart: Chart, frame: _Frame) -> list[str]:
    parts = []
    for value in find_ticks(*frame.up):
        y = frame.y(value)
        label = _label_ratio(value) if chart.unit == "ratio" else say_figure(value, chart.unit)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="tick" x="{_LEFT - 7}" y="{y + 3.5:.1f}" text-anchor="end">{escape(label)}</text>')
    for value in find_ticks(*frame.across, count=6):
        x = frame.x(value)
        parts.append(
            f'<text class="tick" x="{x:.1f}" y="{HEIGHT - _BOTTOM + 15}" text-anchor="middle">{say_number(value)}</text>'
        )
    end = HEIGHT - 3
    parts.append(f'<text class="tick" x="{WIDTH - _RIGHT}" y="{end}" text-anchor="end">{escape(chart.across)}</text>')
    floor = HEIGHT - _BOTTOM
    parts.append(f'<line class="axis" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{floor}" y2="{floor}"/>')
    return parts


def _label_ratio(value: float) -> str:
    return f"{round(100 * value, 3):g} %"


def _draw_curve(curve: Curve, frame: _Frame, colour: str) -> list[str]:
    points = [point for point in curve.points if all(map(math.isfinite, point))]
    if is_noisy(points) and not curve.marks and not curve.reference:
        return [
            _draw_line(thin(points), frame, f"line faint {colour}"),
            _draw_line(thin(smooth(points)), frame, f"line {colour}"),
        ]
    parts = [_draw_line(thin(points), frame, f"line {colour}")] if len(points) > 1 else []
    if curve.marks or len(points) == 1:
        radius = 3.0 if len(points) <= 60 else 1.8  # noqa: PLR2004  # as many as do not touch
        parts += [
            f'<circle class="mark {colour}" cx="{frame.x(x):.1f}" cy="{frame.y(y):.1f}" r="{radius}"/>'
            for x, y in thin(points)
        ]
    return parts


def _draw_line(points: Points, frame: _Frame, style: str) -> str:
    path = " ".join(f"{frame.x(x):.1f},{frame.y(y):.1f}" for x, y in points)
    return f'<polyline class="{style}" points="{path}"/>'


def _pack(chart: Chart, frame: _Frame) -> str:
    """Return what the page's script needs to tell the values under the pointer; it has no part in drawing."""
    words: Callable[[float], str] = lambda y: say_figure(y, chart.unit)  # noqa: E731
    curves = [
        {"name": curve.name, "points": [[round(frame.x(x), 1), say_number(x), words(y)] for x, y in shown]}
        for curve in chart.curves
        if not curve.reference
        for shown in [thin(smooth(curve.points) if is_noisy(curve.points) else curve.points, 200)]
    ]
    return json.dumps({"across": chart.across, "curves": curves}, separators=(",", ":"))
