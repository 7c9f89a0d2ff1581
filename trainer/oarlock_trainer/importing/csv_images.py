"""The layout with one image per row of a table, gzipped or not: a label column and one column per pixel.

A table is read by Arrow's parser. Where that one refuses, a slow and careful parser reads it again: it accepts what only looks
different (12.0, quoted or padded cells) and names the line and column of what is wrong.
"""

import csv
import io
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
from numpy.typing import NDArray

from oarlock_api.v1alpha1.dataset import CsvLayout, ImageFormat
from oarlock_trainer.errors import ConfigError, DataCorruptError, DataMissingError
from oarlock_trainer.importing.plain_files import open_plain
from oarlock_trainer.importing.samples import Listing, index_classes, undivided
from oarlock_trainer.importing.spool import Spool

_BLOCK_BYTES = 8 * 2**20
_SLOW_ROWS = 1024
_BRIGHTEST = 255

_Block = tuple[list[str], NDArray[np.uint8]]
"""Labels and pixels [N, P] of some rows."""


def list_csv(
    source: Path, layout: CsvLayout, image: ImageFormat, *, workspace: Path, beat: Callable[[], None]
) -> Listing:
    """Unpack the images into the workspace and return what they are.

    Raises:
        DataMissingError: if there is no table.
        DataCorruptError: if a row is not like the others or a cell is not a pixel, naming the line.
        ConfigError: if the label column or the size does not fit the table.
    """
    path = find_table(source)
    columns = _count_columns(path, layout)
    label = _label_column(path, layout, columns)
    height, width = choose_size(path, columns - 1, image)
    try:
        labels, spool = _unpack(_read_fast(path, layout, columns, label), workspace, beat)
    except ValueError:  # Arrow's errors are ValueErrors too
        labels, spool = _unpack(_read_carefully(path, layout, columns, label), workspace, beat)
    classes, indices = index_classes([_plain_label(name) for name in labels])
    return Listing(
        classes=classes, samples=spool.samples(height=height, width=width), labels=indices, given=undivided(len(labels))
    )


def find_table(source: Path) -> Path:
    """Return the table: the source itself, or the only table in it.

    Raises:
        DataMissingError: if there is none.
        ConfigError: if there are several.
    """
    if not source.is_dir():
        return source
    found = sorted(path for path in source.iterdir() if path.name.lower().endswith((".csv", ".csv.gz")))
    if not found:
        raise DataMissingError(
            f"{source} holds no .csv or .csv.gz file", remedy="name the table itself as the source's path"
        )
    if len(found) > 1:
        names = ", ".join(path.name for path in found[:5])
        raise ConfigError(
            f"{source} holds {len(found)} tables ({names})", remedy="name one of them as the source's path"
        )
    return found[0]


def choose_size(path: Path, pixels: int, image: ImageFormat) -> tuple[int, int]:
    """Return height and width of the images in the table: those of the spec if they fit, else those of a square.

    Raises:
        ConfigError: if neither fits.
    """
    if image.width and image.height and image.width * image.height == pixels:
        return image.height, image.width
    side = math.isqrt(pixels)
    if side * side == pixels and pixels:
        return side, side
    asked = (
        f"; {image.width}x{image.height} would be {image.width * image.height}" if image.width and image.height else ""
    )
    raise ConfigError(
        f"the rows of {path} have {pixels:,} pixel columns, which is not the square of a whole number{asked}",
        remedy="set spec.image.width and spec.image.height so that their product is the number of pixel columns, "
        "and check spec.layout.csv.label",
    )


def _count_columns(path: Path, layout: CsvLayout) -> int:
    for _, cells in _rows(path, layout):
        return len(cells)
    raise DataMissingError(f"{path} holds no rows", remedy="provide a table with one image per row")


def _label_column(path: Path, layout: CsvLayout, columns: int) -> int:
    if columns < 2:  # noqa: PLR2004  # a label and a pixel
        raise DataCorruptError(
            f"the rows of {path} have a single column", remedy="separate label and pixels by commas, one image per row"
        )
    if layout.label >= columns:
        raise ConfigError(
            f"spec.layout.csv.label is {layout.label}, but {path} has {columns:,} columns, counted from 0",
            remedy=f"set it to 0 to {columns - 1}, or to -1 for the last column",
        )
    return layout.label % columns


def _unpack(blocks: Iterator[_Block], workspace: Path, beat: Callable[[], None]) -> tuple[list[str], Spool]:
    labels: list[str] = []
    with Spool(workspace) as spool:
        for names, pixels in blocks:
            beat()
            labels += names
            spool.append(pixels)
    return labels, spool


def _read_fast(path: Path, layout: CsvLayout, columns: int, label: int) -> Iterator[_Block]:
    """Yield the rows; cells must be plain integers from 0 to 255."""
    names = [f"f{index}" for index in range(columns)]
    types = {name: pa.uint8() for name in names} | {names[label]: pa.string()}
    with open_plain(path) as file:
        reader = pa_csv.open_csv(
            pa.PythonFile(file, mode="r"),
            read_options=pa_csv.ReadOptions(
                block_size=_BLOCK_BYTES, skip_rows=int(layout.header), autogenerate_column_names=True
            ),
            # Without null values an empty cell is an error, not an absent pixel.
            convert_options=pa_csv.ConvertOptions(column_types=types, null_values=[], strings_can_be_null=False),
        )
        for batch in reader:
            pixels = [column.to_numpy() for index, column in enumerate(batch.columns) if index != label]
            labels = batch.column(label).to_pylist()
            if not all(name.strip() for name in labels):
                raise ValueError("a label is blank")
            yield labels, np.stack(pixels, axis=1)


def _read_carefully(path: Path, layout: CsvLayout, columns: int, label: int) -> Iterator[_Block]:
    """Yield the rows, or say which line is wrong and why."""
    labels: list[str] = []
    pixels: list[list[int]] = []
    for line, cells in _rows(path, layout):
        labels.append(_check_row(path, line, cells, columns, label))
        pixels.append([_parse_pixel(path, line, i, cell) for i, cell in enumerate(cells) if i != label])
        if len(labels) == _SLOW_ROWS:
            yield labels, np.array(pixels, dtype=np.uint8)
            labels, pixels = [], []
    if labels:
        yield labels, np.array(pixels, dtype=np.uint8)


def _rows(path: Path, layout: CsvLayout) -> Iterator[tuple[int, list[str]]]:
    """Yield the line number and the cells of each row below the header; empty lines are skipped."""
    with open_plain(path) as file:
        text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
        reader = csv.reader(text)
        try:
            for index, cells in enumerate(reader):
                if cells and not (index == 0 and layout.header):
                    yield reader.line_num, cells
        except (UnicodeDecodeError, csv.Error) as error:
            raise DataCorruptError(
                f"{path} is not a table of text, after line {reader.line_num}: {error}",
                remedy="save it as comma-separated values in UTF-8",
            ) from error


def _check_row(path: Path, line: int, cells: list[str], columns: int, label: int) -> str:
    """Return the row's label."""
    if len(cells) != columns:
        raise DataCorruptError(
            f"line {line} of {path} has {len(cells):,} columns, the lines above {columns:,}",
            remedy="correct or remove that line",
        )
    name = cells[label].strip()
    if not name:
        raise DataCorruptError(
            f"line {line} of {path} has no label in column {label}", remedy="fill it in or remove the line"
        )
    return name


def _parse_pixel(path: Path, line: int, column: int, cell: str) -> int:
    try:
        value = float(cell)
    except ValueError:
        hint = "set spec.layout.csv.header to true if this line names the columns, else " if line == 1 else ""
        raise DataCorruptError(
            f"line {line} of {path} holds {cell[:40]!r} in column {column}, which is not a number",
            remedy=f"{hint}correct or remove the line, and check spec.layout.csv.label",
        ) from None
    if not (0 <= value <= _BRIGHTEST and value.is_integer()):
        raise DataCorruptError(
            f"line {line} of {path} holds {cell[:40]} in column {column}, which is not a whole number from 0 to 255",
            remedy="scale the pixels to 0 to 255 and round them, and check spec.layout.csv.label",
        )
    return int(value)


def _plain_label(name: str) -> str:
    """Return the label without padding; 5.0, as some tools write it, is the class 5."""
    name = name.strip()
    whole, dot, fraction = name.partition(".")
    return whole if dot and whole.isdigit() and set(fraction) <= {"0"} else name
