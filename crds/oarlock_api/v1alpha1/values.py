"""Scalar types that several fields share: names, quantities, paths, fractions."""

from typing import Annotated

from pydantic import Field, PlainSerializer

ObjectName = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")]
"""Name of another object in the same namespace."""

LabelValue = Annotated[str, Field(max_length=63, pattern=r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$")]

Quantity = Annotated[
    str,
    Field(
        min_length=1,
        max_length=32,
        pattern=r"^([1-9][0-9]*(\.[0-9]+)?|0\.[0-9]*[1-9][0-9]*)(Ki|Mi|Gi|Ti|Pi|k|M|G|T|P)?$",
    ),
]
"""Bytes, more than none, with a Kubernetes suffix: 512Mi, 20Gi, 1.5T."""

_PATH_PATTERN = r"\.?[^/.][^/]*(/\.?[^/.][^/]*)*/?"
"""Segments that do not begin with two dots: no path leads out of where it begins."""

RelativePath = Annotated[str, Field(max_length=1024, pattern=f"^({_PATH_PATTERN})?$")]
"""Path inside a volume or an archive, without a leading slash and without `..`; empty: its root."""

InnerPath = Annotated[str, Field(min_length=1, max_length=1024, pattern=f"^{_PATH_PATTERN}$")]
"""Path of something inside a volume or an archive, without a leading slash and without `..`."""

WEIGHTS_PATTERN = f"^/?{_PATH_PATTERN}$"
"""Path inside a volume, or with a leading slash one of the pods; without `..`."""

Fraction = Annotated[float, Field(ge=0, le=1)]


def _write_number(number: float) -> int | float:
    """Write whole numbers as such: earlier versions took no others, and they read what this one writes."""
    return int(number) if number.is_integer() else number


EpochInterval = Annotated[float, Field(gt=0, le=1_000_000_000), PlainSerializer(_write_number, return_type=int | float)]
"""Epochs between two times at which something is done: 0.5 is twice an epoch."""

ShortText = Annotated[str, Field(max_length=1024)]

OBJECT_NAME_PATTERN = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"
"""Names of Datasets and TrainingJobs: pods, services and claims are named after them, with room for a suffix."""
OBJECT_NAME_MAX_LENGTH = 40

_SUFFIXES = {
    "Ki": 2**10,
    "Mi": 2**20,
    "Gi": 2**30,
    "Ti": 2**40,
    "Pi": 2**50,
    "k": 10**3,
    "M": 10**6,
    "G": 10**9,
    "T": 10**12,
    "P": 10**15,
}


def parse_quantity(quantity: str) -> int:
    """Return the number of bytes that a quantity such as `20Gi` means.

    Raises:
        ValueError: if it is not a quantity.
    """
    for suffix, factor in _SUFFIXES.items():
        if quantity.endswith(suffix):
            return int(float(quantity.removesuffix(suffix)) * factor)
    return int(float(quantity))
