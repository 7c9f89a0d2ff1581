"""The confusion matrix as SVG, readable with two classes and with a hundred. Pure.

A cell's colour is its share of its row: of all that is truly of a class. Cells that hold nothing are not drawn.
"""

import json
from collections.abc import Sequence

from markupsafe import Markup, escape

_SIDE = 640.0
_WIDEST_LABEL = 150.0
_LETTER = 6.6
_MOST_CELLS_WITH_TEXT = 24
_MOST_LABELS = 50
_FAINTEST = 0.06
_DARK = 0.55
"""From this strength on a cell's text is light."""

Matrix = Sequence[Sequence[int]]


def draw_matrix(matrix: Matrix, classes: Sequence[str]) -> Markup:
    """Return the matrix [true][predicted] as an SVG element."""
    count = len(matrix)
    margin = min(_WIDEST_LABEL, 16 + _LETTER * max((len(name) for name in classes), default=0))
    size = min(90.0, (_SIDE - margin) / count)
    side = margin + size * count
    labels = [clip(name, round((margin - 10) / _LETTER)) for name in classes]
    parts = _draw_frame(labels, count=count, size=size, margin=margin)
    for row, counts in enumerate(matrix):
        total = sum(counts)
        for column, value in enumerate(counts):
            if value:
                parts.append(_draw_cell(row, column, value, value / total, count=count, size=size, margin=margin))
    data = json.dumps({"margin": margin, "size": size, "classes": list(classes), "rows": [list(r) for r in matrix]})
    width = side + 4
    return Markup(  # noqa: S704  # every text in it is escaped where it is put in
        f'<svg class="matrix" style="max-width:{max(width, 260):.0f}px" viewBox="0 0 {width:.1f} {width:.1f}" role="img"'
        f' aria-label="Confusion matrix" data-matrix="{escape(data)}">{"".join(parts)}</svg>'
    )


def list_confused(matrix: Matrix, classes: Sequence[str], *, most: int = 10) -> list[tuple[str, str, int, float]]:
    """Return the commonest mistakes: true class, predicted class, how often, and as a share of the true class."""
    found = [
        (classes[row], classes[column], value, value / sum(counts))
        for row, counts in enumerate(matrix)
        for column, value in enumerate(counts)
        if row != column and value
    ]
    return sorted(found, key=lambda mistake: (-mistake[2], -mistake[3]))[:most]


def clip(text: str, most: int) -> str:
    """Return a text of at most `most` characters."""
    return text if len(text) <= most else text[: max(1, most - 1)] + "…"


def _draw_frame(labels: Sequence[str], *, count: int, size: float, margin: float) -> list[str]:
    extent = size * count
    parts = [f'<rect class="paper" x="{margin}" y="{margin}" width="{extent:.1f}" height="{extent:.1f}"/>']
    every = -(-count // _MOST_LABELS)
    letters = max(5.5, min(12.0, size * every * 0.8))
    for index in range(0, count, every):
        middle, text = margin + (index + 0.5) * size, escape(labels[index])
        parts.append(
            f'<text x="{margin - 6}" y="{middle + letters / 3:.1f}" font-size="{letters:.1f}" text-anchor="end">{text}</text>'
        )
        parts.append(
            f'<text transform="translate({middle + letters / 3:.1f} {margin - 6}) rotate(-90)"'
            f' font-size="{letters:.1f}">{text}</text>'
        )
    return parts


def _draw_cell(row: int, column: int, value: int, share: float, *, count: int, size: float, margin: float) -> str:
    x, y, strength = margin + column * size, margin + row * size, _FAINTEST + (1 - _FAINTEST) * share**0.7
    kind = "hit" if row == column else "miss"
    gap = 0.6 if size > 8 else 0.0  # noqa: PLR2004  # small cells need their whole area
    box = (
        f'<rect class="{kind}" x="{x + gap:.2f}" y="{y + gap:.2f}" width="{size - 2 * gap:.2f}"'
        f' height="{size - 2 * gap:.2f}" fill-opacity="{strength:.3f}"/>'
    )
    if count > _MOST_CELLS_WITH_TEXT:
        return box
    letters = min(15.0, size * 0.3)
    style = "on" if strength > _DARK else "off"
    words = f"{100 * share:.{int(size >= 40 and share < 1)}f}" + (" %" if size >= 40 else "")  # noqa: PLR2004  # room for a sign
    place = f'x="{x + size / 2:.1f}" text-anchor="middle" class="{style}"'
    text = f'<text {place} y="{y + size / 2 + letters * 0.35:.1f}" font-size="{letters:.1f}">{words}</text>'
    if size < 54:  # noqa: PLR2004  # no room for the count
        return box + text
    number = f'<text {place} y="{y + size / 2 + letters * 1.5:.1f}" font-size="{letters * 0.7:.1f}">{value:,}</text>'
    return box + text + number
