"""Which class a value or a colour of a mask stands for.

The file has one class a line, `value name` or `red green blue name`; `#` begins a comment. The class called `ignore` is no class: what
it stands for is not learned. Without a file the values are the classes, and 255 is what is not learned.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from oarlock_trainer.datasets.columns import IGNORED_PIXEL
from oarlock_trainer.errors import ConfigError, DataCorruptError
from oarlock_trainer.importing.plain_files import open_plain
from oarlock_trainer.importing.source_files import UnreadableSampleError

IGNORE = "ignore"
_BYTE = 256
_COLOUR_FIELDS = 4
_UNKNOWN = -1


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassMap:
    """The classes of masks."""

    classes: list[str] = field(default_factory=list)
    """Names; none: they are the values that occur."""
    codes: list[int] = field(default_factory=list)
    """Values, or colours as 0xRRGGBB, in rising order."""
    indexes: list[int] = field(default_factory=list)
    """The class of each; IGNORED_PIXEL for what is not learned."""
    coloured: bool = False
    """Whether the codes are colours."""

    def look_up(self, codes: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return the classes of the pixels [H, W] of a mask.

        Raises:
            UnreadableSampleError: naming a pixel that stands for no class.
        """
        if not self.classes:
            if codes.max(initial=0) > IGNORED_PIXEL:
                raise UnreadableSampleError(f"it holds {codes.max()}, and a class is at most 254")
            return codes.astype(np.uint8)
        known = np.array(self.codes)
        at = np.searchsorted(known, codes).clip(max=len(known) - 1)
        if not np.array_equal(known[at], codes):
            row, column = np.argwhere(known[at] != codes)[0].tolist()
            raise UnreadableSampleError(f"{self._show(int(codes[row, column]))} at x {column}, y {row} is in no class")
        found: NDArray[np.uint8] = np.array(self.indexes, dtype=np.uint8)[at]
        return found

    def _show(self, code: int) -> str:
        if not self.coloured:
            return f"the value {code}"
        return f"the colour {code >> 16} {code >> 8 & 255} {code & 255}"


def read_class_map(path: Path) -> ClassMap:
    """Read a class map.

    Raises:
        DataMissingError: if there is none.
        DataCorruptError: if a line is not one of a class map, naming it.
        ConfigError: if there are too few or too many classes.
    """
    with open_plain(path) as file:
        text = file.read().decode("utf-8-sig", "replace")
    lines = [(number, line.split("#")[0].split()) for number, line in enumerate(text.splitlines(), 1)]
    rows = [(number, fields) for number, fields in lines if fields]
    coloured = bool(rows) and len(rows[0][1]) >= _COLOUR_FIELDS and all(_is_byte(part) for part in rows[0][1][:3])
    codes = [_read_line(path, number, fields, coloured=coloured) for number, fields in rows]
    names = [" ".join(fields[3 if coloured else 1 :]) for _, fields in rows]
    classes = list(dict.fromkeys(name for name in names if name != IGNORE))
    if not 1 < len(classes) < IGNORED_PIXEL:
        raise ConfigError(
            f"{path} names {len(classes)} classes", remedy="name 2 to 254 classes, one a line: `value name`"
        )
    found: dict[int, int] = {}
    for (number, _), code, name in zip(rows, codes, names, strict=True):
        if found.setdefault(code, index := _index(classes, name)) != index:
            raise _bad_line(path, number, "stands for two classes")
    if not coloured:
        found.setdefault(IGNORED_PIXEL, IGNORED_PIXEL)
    ordered = sorted(found)
    return ClassMap(classes=classes, codes=ordered, indexes=[found[code] for code in ordered], coloured=coloured)


def _index(classes: list[str], name: str) -> int:
    return IGNORED_PIXEL if name == IGNORE else classes.index(name)


def _read_line(path: Path, number: int, fields: list[str], *, coloured: bool) -> int:
    parts = fields[:3] if coloured else fields[:1]
    if len(fields) <= len(parts) or not all(_is_byte(part) for part in parts):
        wanted = "red green blue name" if coloured else "value name"
        raise _bad_line(path, number, f"is not `{wanted}`, with numbers from 0 to 255")
    code = 0
    for part in parts:
        code = code << 8 | int(part)
    return code


def _is_byte(text: str) -> bool:
    return text.isascii() and text.isdecimal() and int(text) < _BYTE


def _bad_line(path: Path, number: int, finding: str) -> DataCorruptError:
    return DataCorruptError(f"line {number} of {path} {finding}", remedy="correct the class map")
