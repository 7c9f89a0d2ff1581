"""Figures in words that people read. Pure."""

_MINUTE, _HOUR, _DAY = 60, 3600, 86_400
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_KIB = 1024


def format_duration(seconds: float) -> str:
    """Return `8 s`, `4 min 10 s`, `3 h 5 min` or `2 d 7 h`."""
    whole = round(seconds)
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return _join(whole // _MINUTE, "min", whole % _MINUTE, "s")
    if whole < _DAY:
        return _join(whole // _HOUR, "h", whole % _HOUR // _MINUTE, "min")
    return _join(whole // _DAY, "d", whole % _DAY // _HOUR, "h")


def _join(large: int, large_unit: str, small: int, small_unit: str) -> str:
    return f"{large} {large_unit} {small} {small_unit}" if small else f"{large} {large_unit}"


def format_percent(share: float) -> str:
    return f"{100 * share:.2f} %"


def format_figure(value: float) -> str:
    """Return a number with four digits that mean something."""
    return f"{value:.4g}"


def format_bytes(count: float) -> str:
    for unit in _UNITS[:-1]:
        if count < _KIB:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= _KIB
    return f"{count:.1f} {_UNITS[-1]}"


def count_of(number: int, noun: str) -> str:
    """Return `1 epoch`, `2 epochs`, `1,000 epochs`."""
    plural = f"{noun}es" if noun.endswith("s") else f"{noun}s"
    return f"{number:,} {noun if number == 1 else plural}"


def format_epochs(epochs: float) -> str:
    """Return a number of epochs without digits that say nothing: an epoch's last step straddles into the next."""
    return f"{epochs:.1f}".removesuffix(".0")


def count_epochs(epochs: float) -> str:
    """Return `1 epoch`, `2 epochs` or `2.5 epochs`."""
    number = format_epochs(epochs)
    return f"{number} epoch" if number == "1" else f"{number} epochs"
