"""The layout with lists of files: a text file with one `path label` line per sample."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from oarlock_api.v1alpha1.dataset import TextFilesLayout
from oarlock_trainer.datasets import Reject
from oarlock_trainer.errors import DataCorruptError, DataMissingError
from oarlock_trainer.importing.plain_files import open_plain, resolve_inside
from oarlock_trainer.importing.samples import SPLITS, UNDIVIDED, FileSamples, Listing, index_classes
from oarlock_trainer.importing.texts import decode_text

_BEAT_LINES = 1000


def list_file_lists(source: Path, layout: TextFilesLayout, *, beat: Callable[[], None]) -> Listing:
    """List the files that the lists name.

    Raises:
        DataMissingError: if a list is missing or empty.
        DataCorruptError: if a line is not `path label`, or a label is none of the named classes, naming the line.
    """
    train = UNDIVIDED if layout.validation is None else SPLITS.index("train")
    lists = [(train, layout.train), (SPLITS.index("validation"), layout.validation)]
    paths: list[str] = []
    labels: list[str] = []
    given: list[int] = []
    rejects: list[Reject] = []
    for split, name in lists:
        if name is None:
            continue
        for number, (path, label) in enumerate(read_list(resolve_inside(source, name)), 1):
            if number % _BEAT_LINES == 0:
                beat()
            if reason := _find_fault(source, path):
                rejects.append(Reject(path=path, reason=f"line {number} of {name} names it, {reason}"))
                continue
            paths.append(path)
            labels.append(label)
            given.append(split)
    classes, indexes = _name_classes(source, layout, labels)
    return Listing(
        classes=classes,
        samples=FileSamples(root=source, paths=paths),
        labels=indexes,
        given=np.array(given, dtype=np.int8),
        rejects=rejects,
    )


def _find_fault(source: Path, path: str) -> str:
    """Say why a file of a list cannot be taken; empty if it can."""
    if path.startswith("/"):
        return "from the root of a machine: write the path relative to the source, without / at the beginning"
    return "" if resolve_inside(source, path).is_file() else "and it is not there"


def read_list(path: Path) -> list[tuple[str, str]]:
    """Return path and label of each line; the label is what stands behind the last space.

    Raises:
        DataMissingError: if there is no such list, or nothing in it.
        DataCorruptError: naming a line that is not `path label`.
    """
    with open_plain(path) as file:
        text, _ = decode_text(file.read())
    rows: list[tuple[str, str]] = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        parts = line.strip().rsplit(None, 1)
        if len(parts) < 2:  # noqa: PLR2004  # a path and a label
            raise DataCorruptError(
                f"line {number} of {path} is not `path label`: {line[:80]!r}", remedy="correct or remove the line"
            )
        rows.append((parts[0], parts[1]))
    if not rows:
        raise DataMissingError(f"{path} names no files", remedy="write one `path label` line per sample")
    return rows


def _name_classes(source: Path, layout: TextFilesLayout, labels: list[str]) -> tuple[list[str], NDArray[np.int32]]:
    """Return the classes, and the class of each label: its name, or its place in the file of names."""
    if layout.labels is None:
        return index_classes(labels)
    path = resolve_inside(source, layout.labels)
    with open_plain(path) as file:
        text, _ = decode_text(file.read())
    names = [line.strip() for line in text.splitlines() if line.strip()]
    numbers = _read_labels(path, names, list(dict.fromkeys(labels)))
    return names, np.array([numbers[label] for label in labels], dtype=np.int32)


def _read_labels(path: Path, names: list[str], labels: list[str]) -> dict[str, int]:
    """Return the class of each different label: all of them are names, or all are places, whatever names look like."""
    by_name = {name: number for number, name in enumerate(names)}
    by_place = {str(number): number for number in range(len(names))}
    unknown = next((label for label in labels if label not in by_name and label not in by_place), None)
    if unknown is not None:
        raise DataCorruptError(
            f"the label {unknown!r} is neither one of the {len(names)} names in {path} nor the place of one, from 0",
            remedy="correct the label, or add the class to the list of names",
        )
    readings = [numbers for numbers in (by_name, by_place) if all(label in numbers for label in labels)]
    if not readings:
        name, place = (next(label for label in labels if label not in others) for others in (by_place, by_name))
        raise DataCorruptError(
            f"the label {name!r} is a name in {path}, and the label {place!r} a place in it",
            remedy="write all labels as names, or all as places, counted from 0",
        )
    unclear = next((label for label in labels if any(read[label] != readings[0][label] for read in readings)), None)
    if unclear is not None:
        raise DataCorruptError(
            f"the labels may be names in {path}, or places in it, and mean other classes then: {unclear!r} is one of them",
            remedy="leave out `labels` of the layout if the labels are names; write names that are no numbers if they are places",
        )
    return readings[0]
