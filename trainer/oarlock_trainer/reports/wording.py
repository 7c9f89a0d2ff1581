"""How figures read: short, with the unit that fits. Pure."""

import math
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

_BINARY = ("B", "KiB", "MiB", "GiB", "TiB")
_SPELLED = {"iou": "IoU", "map50": "mAP 50"}
_MINUTE, _HOUR, _DAY = 60.0, 3600.0, 86_400.0


def say_figure(value: float | None, unit: str = "1") -> str:
    """Return a figure in words of its unit: a ratio as percent, seconds and bytes in the size that reads best."""
    if value is None or not math.isfinite(value):
        return "–"  # noqa: RUF001  # a dash, as in any table
    if unit == "ratio":
        return f"{100 * value:.2f} %" if abs(value) < 1 else f"{100 * value:.0f} %"
    if unit == "s":
        return say_seconds(value)
    if unit == "bytes":
        return say_bytes(value)
    return say_number(value) + {"1/s": "/s", "decibels": " dB"}.get(unit, "")


def say_number(value: float) -> str:
    """Return a number with four digits that count."""
    if value == 0 or 1e-3 <= abs(value) < 1e4:  # noqa: PLR2004
        text = f"{value:.4g}"
        return text if "e" not in text else f"{value:.0f}"
    if 1e4 <= abs(value) < 1e15:  # noqa: PLR2004
        return f"{value:,.0f}"
    return f"{value:.3g}".replace("e-0", "e-").replace("e+0", "e+")


def say_seconds(value: float) -> str:
    """Return a duration."""
    if value < _MINUTE:
        return _say_short(value)
    if value < _HOUR:
        return f"{value // _MINUTE:.0f} min {value % _MINUTE:.0f} s"
    if value < _DAY:
        return f"{value // _HOUR:.0f} h {value % _HOUR // _MINUTE:.0f} min"
    return f"{value // _DAY:.0f} d {value % _DAY // _HOUR:.0f} h"


def _say_short(value: float) -> str:
    if value >= 1 or value == 0:
        return f"{value:.3g} s"
    return f"{value * 1e3:.3g} ms" if value >= 1e-3 else f"{value * 1e6:.3g} µs"  # noqa: PLR2004


def say_bytes(value: float) -> str:
    """Return a size."""
    size, power = float(value), 0
    while size >= 1024 and power < len(_BINARY) - 1:  # noqa: PLR2004
        size, power = size / 1024, power + 1
    return f"{size:.0f} {_BINARY[power]}" if power == 0 else f"{size:.3g} {_BINARY[power]}"


def say_time(value: float) -> str:
    """Return a moment, in UTC."""
    return f"{datetime.fromtimestamp(value, UTC):%Y-%m-%d %H:%M:%S}"


def say_name(name: str) -> str:
    """Return the name of a metric of the table in words."""
    words = "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in name.replace("/", " "))
    return " ".join(_SPELLED.get(word, word) for word in words.split())


def say_title(quantity: str) -> str:
    """Return the name of a quantity of the table in words, as a title."""
    words = say_name(quantity)
    return words if quantity in _SPELLED else words.capitalize()


def shorten_tree(value: Any, *, levels: int = 2) -> Any:
    """Return nested facts with at most so many levels of names: those below are joined by dots, so that columns stay wide enough."""
    if not isinstance(value, Mapping):
        return value
    if levels > 1:
        return {name: shorten_tree(inner, levels=levels - 1) for name, inner in value.items()}
    return dict(_join_names(value))


def _join_names(value: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, inner in value.items():
        if isinstance(inner, Mapping) and inner:
            yield from ((f"{name}.{path}", leaf) for path, leaf in _join_names(inner))
        else:
            yield name, inner
