"""Amounts of what nodes have and pods ask for, as numbers and in words. Pure."""

import math

_SUFFIXES: dict[str, float] = {
    "n": 1e-9, "u": 1e-6, "m": 1e-3,
    "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18,
    "Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40, "Pi": 2.0**50, "Ei": 2.0**60,
}  # fmt: skip
_BYTES = frozenset({"memory", "ephemeral-storage"})
_UNITS = (("Ti", 2.0**40), ("Gi", 2.0**30), ("Mi", 2.0**20), ("Ki", 2.0**10))


def parse_amount(quantity: object) -> float:
    """Return what a Kubernetes quantity such as `500m` or `128Gi` means; 0 if it is none, as anybody may have written it."""
    text = str(quantity).strip()
    number = text.rstrip("numkKMGTPEi") or "0"
    # The E of an exponent is followed by digits, so that it is not taken for a suffix.
    try:
        amount = float(number) * _SUFFIXES.get(text[len(number) :], 1.0)
    except ValueError:
        return 0.0
    return amount if math.isfinite(amount) else 0.0


def format_amount(resource: str, amount: float) -> str:
    """Return an amount as people write it: `4`, `0.5`, `128Gi`. Rounded down, so that what is free is never overstated."""
    if resource in _BYTES:
        for unit, factor in _UNITS:
            if amount >= factor:
                return f"{_cut(amount / factor)}{unit}"
    return _cut(amount)


def _cut(amount: float) -> str:
    tenths = int(amount * 10 + 1e-6)
    return str(tenths // 10) if tenths % 10 == 0 else f"{tenths / 10:.1f}"
