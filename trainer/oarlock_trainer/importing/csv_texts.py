"""The layout with one text per row of a table, gzipped or not: a label column and a column with the text."""

import csv
import io
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from oarlock_api.v1alpha1.dataset import CsvLayout
from oarlock_trainer.datasets import Reject
from oarlock_trainer.errors import ConfigError, DataCorruptError, DataMissingError
from oarlock_trainer.importing.csv_images import find_table
from oarlock_trainer.importing.plain_files import open_plain
from oarlock_trainer.importing.samples import Listing, SpooledTexts, index_classes, undivided
from oarlock_trainer.importing.space import storage_errors
from oarlock_trainer.importing.spool import SPOOL_NAME
from oarlock_trainer.importing.texts import NOT_UTF_8

_BEAT_ROWS = 1000
_SEPARATORS = {"comma": ",", "semicolon": ";", "tab": "\t"}

_Row = tuple[int, str, str]
"""Line, label and text."""


def list_csv_texts(source: Path, layout: CsvLayout, *, workspace: Path, beat: Callable[[], None]) -> Listing:
    """Unpack the texts into the workspace and return what they are.

    Raises:
        DataMissingError: if there is no table, or no row in it.
        DataCorruptError: if a row is not like the others, naming the line.
        ConfigError: if a column does not fit the table.
        StorageError: if the texts do not fit on the volume.
    """
    path = find_table(source)
    try:
        listing = _unpack(path, layout, "utf-8-sig", workspace, beat)
    except UnicodeDecodeError:
        listing = _unpack(path, layout, "latin-1", workspace, beat)
        listing.remarks[NOT_UTF_8] = len(listing.samples)
    if not len(listing.samples):
        raise DataMissingError(f"{path} holds no rows", remedy="provide a table with one text per row")
    return listing


def _unpack(path: Path, layout: CsvLayout, encoding: str, workspace: Path, beat: Callable[[], None]) -> Listing:
    labels: list[str] = []
    lines: list[int] = []
    ends = [0]
    rejects: list[Reject] = []
    spool = workspace / SPOOL_NAME
    with storage_errors(workspace, doing="unpacking the texts"), spool.open("wb") as file:
        for line, label, text in _rows(path, layout, encoding):
            if len(lines) % _BEAT_ROWS == 0:
                beat()
            if not text or text.isspace():
                rejects.append(Reject(path=f"{path.name}, line {line}", reason="the text is empty"))
                continue
            content = text.encode("utf-8", "replace")
            file.write(content)
            ends.append(ends[-1] + len(content))
            labels.append(label)
            lines.append(line)
    classes, indexes = index_classes(labels)
    bounds = np.array(ends, dtype=np.int64)
    samples = SpooledTexts(file=spool, starts=bounds[:-1], ends=bounds[1:], lines=np.array(lines, dtype=np.int64))
    return Listing(classes=classes, samples=samples, labels=indexes, given=undivided(len(labels)), rejects=rejects)


def _rows(path: Path, layout: CsvLayout, encoding: str) -> Iterator[_Row]:
    columns: int | None = None
    csv.field_size_limit(sys.maxsize)
    with open_plain(path) as file:
        reader = csv.reader(
            io.TextIOWrapper(file, encoding=encoding, newline=""), delimiter=_SEPARATORS[layout.separator]
        )
        try:
            for index, cells in enumerate(reader):
                if not cells or (index == 0 and layout.header):
                    continue
                columns = columns or _check_columns(path, layout, len(cells))
                yield reader.line_num, *_take(path, layout, reader.line_num, cells, columns)
        except csv.Error as error:
            raise DataCorruptError(
                f"{path} is not a table of text, after line {reader.line_num}: {error}",
                remedy="save it as comma-separated values in UTF-8",
            ) from error


def _check_columns(path: Path, layout: CsvLayout, columns: int) -> int:
    for name, column in (("label", layout.label), ("text", layout.text)):
        if column is None or column >= columns:
            raise ConfigError(
                f"spec.layout.csv.{name} is {column}, but {path} has {columns:,} columns, counted from 0",
                remedy=f"set it to 0 to {columns - 1}, or to -1 for the last column; or set spec.layout.csv.separator",
            )
    if layout.text is not None and layout.label % columns == layout.text % columns:
        raise ConfigError(
            f"spec.layout.csv names column {layout.label % columns} of {path} both as label and as text",
            remedy="set label and text to the columns that hold them, counted from 0",
        )
    return columns


def _take(path: Path, layout: CsvLayout, line: int, cells: list[str], columns: int) -> tuple[str, str]:
    """Return the label and the text of a row."""
    if len(cells) != columns:
        raise DataCorruptError(
            f"line {line} of {path} has {len(cells):,} columns, the lines above {columns:,}",
            remedy="correct the line: a text with separators in it stands between quotation marks",
        )
    label = cells[layout.label].strip()
    if not label:
        raise DataCorruptError(
            f"line {line} of {path} has no label in column {layout.label}", remedy="fill it in or remove the line"
        )
    return label, cells[layout.text or 0]
