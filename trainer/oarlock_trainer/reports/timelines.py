"""What happened when: attempts as bars, checkpoints and warnings as marks, over the time. Pure."""

from collections.abc import Sequence

from markupsafe import Markup, escape

from oarlock_trainer.reports.charts import find_ticks
from oarlock_trainer.reports.facts import Attempt, Moment
from oarlock_trainer.reports.wording import say_seconds, say_time

_WIDTH, _LEFT, _RIGHT = 1080.0, 96.0, 16.0
_ROW = 24.0
_LANES = (("validation", "validations"), ("checkpoint", "checkpoints"), ("warning", "warnings"))
_MOST_MARKS = 400


def draw_timeline(attempts: Sequence[Attempt], moments: Sequence[Moment]) -> Markup:
    """Return the timeline as an SVG element; empty if nothing is known."""
    times = [time for attempt in attempts for time in (attempt.began, attempt.ended)] + [m.time for m in moments]
    if not times:
        return Markup("")
    first, last = min(times), max(*times, min(times) + 1e-3)
    scale = (_WIDTH - _LEFT - _RIGHT) / (last - first)
    parts = [_draw_attempts(attempts, first, scale)]
    row = 1
    for kind, name in _LANES:
        shown = [moment for moment in moments if moment.kind == kind or (kind, moment.kind) == ("checkpoint", "best")]
        if shown:
            parts.append(_draw_lane(name, shown, row, first, scale))
            row += 1
    height = row * _ROW + 34
    parts.append(_draw_axis(last - first, scale, height))
    return Markup(  # noqa: S704  # every text in it is escaped where it is put in
        f'<svg class="timeline" viewBox="0 0 {_WIDTH:.0f} {height:.0f}" role="img" aria-label="Timeline">{"".join(parts)}</svg>'
    )


def _draw_attempts(attempts: Sequence[Attempt], first: float, scale: float) -> str:
    parts = [_name("attempts", 0)]
    for number, attempt in enumerate(attempts):
        x, width = _LEFT + (attempt.began - first) * scale, max(2.0, (attempt.ended - attempt.began) * scale)
        label = escape(attempt.name) if width > 8 * len(attempt.name) else ""
        title = escape(f"{attempt.text} ({say_time(attempt.began)} UTC, {say_seconds(attempt.ended - attempt.began)})")
        parts.append(
            f'<g><title>{title}</title><rect class="attempt c{number % 8}" x="{x:.1f}" y="5" width="{width:.1f}" height="16"'
            f' rx="3"/><text class="on" x="{x + 6:.1f}" y="17">{label}</text></g>'
        )
    return "".join(parts)


def _draw_lane(name: str, moments: Sequence[Moment], row: int, first: float, scale: float) -> str:
    parts = [_name(name, row)]
    every = -(-len(moments) // _MOST_MARKS)
    for index, moment in enumerate(moments):
        if index % every and moment.kind != "best":
            continue
        x, y = _LEFT + (moment.time - first) * scale, row * _ROW + 13
        radius = 6 if moment.kind == "best" else 4
        parts.append(
            f'<circle class="moment {escape(moment.kind)}" cx="{x:.1f}" cy="{y}" r="{radius}"><title>{escape(moment.text)}'
            f" ({say_seconds(moment.time - first)})</title></circle>"
        )
    return "".join(parts)


def _name(text: str, row: int) -> str:
    return f'<text class="lane" x="{_LEFT - 12}" y="{row * _ROW + 17}" text-anchor="end">{escape(text)}</text>'


def _draw_axis(length: float, scale: float, height: float) -> str:
    y = height - 24
    parts = [f'<line class="axis" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y}" y2="{y}"/>']
    unit = next(unit for unit in (86_400.0, 3600.0, 60.0, 1.0, 1e-3) if length >= unit * 2 or unit == 1e-3)  # noqa: PLR2004
    name = {86_400.0: "d", 3600.0: "h", 60.0: "min", 1.0: "s", 1e-3: "ms"}[unit]
    for value in find_ticks(0, length / unit, count=8):
        x = _LEFT + value * unit * scale
        parts.append(f'<text class="tick" x="{x:.1f}" y="{y + 15}" text-anchor="middle">{value:g} {name}</text>')
    return "".join(parts)
