"""The layout of COCO: a folder of images, and one JSON file with the boxes of all of them."""

import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oarlock_api.v1alpha1.dataset import CocoLayout
from oarlock_trainer.datasets import Reject
from oarlock_trainer.datasets.columns import BOX_VALUES
from oarlock_trainer.errors import ConfigError, DataCorruptError
from oarlock_trainer.importing.folders import printable
from oarlock_trainer.importing.plain_files import open_plain, resolve_inside
from oarlock_trainer.importing.samples import BoxSamples, Listing
from oarlock_trainer.importing.split_folders import SplitFolder

CROWDS = "boxes around crowds"
_MOST_USELESS = 0.5
"""Share of the annotations; with more of them, it is all of the file that is wrong, not single annotations."""
_MOST_SHOWN = 60
_REMEDY = "write it as COCO has it: images with id and file_name, categories with id and name, annotations with image_id, category_id and bbox"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Found:
    paths: list[str] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    boxes: list[NDArray[np.float32]] = field(default_factory=list)
    given: list[int] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    flaws: list[Reject] = field(default_factory=list)
    remarks: Counter[str] = field(default_factory=Counter)


def list_coco(source: Path, layout: CocoLayout, folders: list[SplitFolder], *, beat: Callable[[], None]) -> Listing:
    """List the images that the annotations name, with their boxes; one without boxes shows nothing.

    Raises:
        DataMissingError: if the annotations are missing.
        DataCorruptError: if they are not those of COCO.
        ConfigError: if two splits have different classes.
    """
    found = _Found()
    classes: list[str] | None = None
    for folder in folders:
        path = folder.inner(layout.annotations)
        content = _read_json(resolve_inside(source, path))
        try:
            names = _take(source, path, folder.inner(layout.images), folder.split, content, found, beat)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            finding = f"{source / path} is not a file of COCO: {type(error).__name__} at {error}"
            raise DataCorruptError(finding, remedy=_REMEDY) from error
        if classes is not None and names != classes:
            raise ConfigError(
                f"the categories in {path} are not those for training", remedy="give every split the same categories"
            )
        classes = names
    return Listing(
        classes=classes or [],
        samples=BoxSamples(root=source, paths=found.paths, boxes=found.boxes, sources=found.sources),
        labels=np.zeros(len(found.paths), dtype=np.int32),
        given=np.array(found.given, dtype=np.int8),
        rejects=found.rejects,
        flaws=found.flaws,
        remarks=dict(+found.remarks),
    )


def _read_json(path: Path) -> Any:
    with open_plain(path) as file:
        try:
            return json.load(file)
        except ValueError as error:
            raise DataCorruptError(f"{path} is not JSON: {error}", remedy=_REMEDY) from error


def _take(  # noqa: PLR0917  # what one split consists of
    source: Path,
    annotations: str,
    images: str,
    split: int,
    content: Mapping[str, Any],
    found: _Found,
    beat: Callable[[], None],
) -> list[str]:
    """Take the images of one file; return the classes."""
    for what, fields in (("categories", ("id", "name")), ("images", ("id", "file_name"))):
        _check_entries(source / annotations, what, content[what], fields)
    categories = sorted(content["categories"], key=lambda category: int(category["id"]))
    names = _name_classes(source / annotations, categories)
    numbers = {_to_key(category["id"]): index for index, category in enumerate(categories)}
    boxes: dict[str, list[list[float]]] = {_to_key(image["id"]): [] for image in content["images"]}
    if len(boxes) < len(content["images"]):
        finding = f"{len(content['images']) - len(boxes):,} images in {source / annotations} have the id of another"
        raise DataCorruptError(finding, remedy="give every image an id of its own, and its annotations that image_id")
    _collect_boxes(source / annotations, annotations, content["annotations"], numbers, boxes, found)
    for image in sorted(content["images"], key=lambda image: str(image["file_name"])):
        beat()
        path = f"{images}/{image['file_name']}"
        if not resolve_inside(source, path).is_file():
            found.rejects.append(Reject(path=printable(path), reason=f"{annotations} names it, and it is not there"))
            continue
        found.paths.append(path)
        found.sources.append(path)
        rows = boxes[_to_key(image["id"])]
        found.boxes.append(np.array(rows, dtype=np.float32).reshape(len(rows), BOX_VALUES))
        found.given.append(split)
    return names


def _to_key(identity: Any) -> str:
    """Return the same for 7, 7.0 and "7": some programs write the ids of one file in several ways."""
    return str(int(identity) if isinstance(identity, float) and identity.is_integer() else identity)


def _name_classes(path: Path, categories: list[dict[str, Any]]) -> list[str]:
    """Return the names of the categories, which are those of the classes."""
    names = [str(category["name"]) for category in categories]
    if odd := [name for name in names if printable(name) != name]:
        finding = f"{path} has a category whose name holds half a character: {odd[0]!a}"
        raise DataCorruptError(finding, remedy="correct the name in the file")
    for what, values in (("id", [_to_key(category["id"]) for category in categories]), ("name", names)):
        value, count = Counter(values).most_common(1)[0] if values else ("", 0)
        if count > 1:
            raise DataCorruptError(
                f"{path} has {count} categories with the {what} {value!r}",
                remedy="give every category an id and a name of its own, or make them one category",
            )
    return names


def _check_entries(path: Path, what: str, entries: list[Any], fields: tuple[str, ...]) -> None:
    """Refuse a file in which an entry lacks what it must have, naming the first."""
    for number, entry in enumerate(entries, 1):
        for name in fields:
            if not isinstance(entry, Mapping) or entry.get(name) is None:
                finding = f"{path} is not a file of COCO: {what} number {number} of {len(entries):,} has no {name}"
                raise DataCorruptError(finding, remedy=_REMEDY)


class _UselessError(Exception):
    """Why an annotation cannot be used."""


def _collect_boxes(  # noqa: PLR0917  # what one file consists of
    path: Path,
    name: str,
    annotations: list[Any],
    numbers: Mapping[str, int],
    boxes: Mapping[str, list[list[float]]],
    found: _Found,
) -> None:
    """Add class, left, top, right and bottom of each box to those of its image; name what cannot be used."""
    unmatched, flaws = [], []
    for number, annotation in enumerate(annotations, 1):
        called = _name_annotation(annotation, number)
        try:
            rows = boxes.get(_to_key(_read(annotation, "image_id", None)))
            if rows is None:
                unmatched.append(f"{called} with the image_id {_show(annotation.get('image_id'))}")
            elif annotation.get("iscrowd"):
                found.remarks[CROWDS] += 1
            else:
                rows.append(_read_box(annotation, numbers))
        except _UselessError as error:
            flaws.append(f"{called}: {error}")
    for useless, what in ((unmatched, "are of no image in it"), (flaws, "cannot be used")):
        if len(useless) > _MOST_USELESS * len(annotations):
            finding = f"{len(useless):,} of {len(annotations):,} annotations in {path} {what}, the first: {useless[0]}"
            raise DataCorruptError(finding, remedy=_REMEDY)
    if unmatched:
        found.remarks[f"annotations of no image in {name}, the first: {unmatched[0]}"] += len(unmatched)
    found.flaws.extend(Reject(path=printable(name), reason=printable(flaw)) for flaw in flaws)


def _name_annotation(annotation: Any, number: int) -> str:
    identity = annotation.get("id") if isinstance(annotation, Mapping) else None
    return f"the annotation with the id {_show(identity)}" if identity is not None else f"annotation number {number}"


def _read(annotation: Any, field_name: str, default: Any) -> Any:
    if not isinstance(annotation, Mapping):
        raise _UselessError(f"it must be an object, found {_show(annotation)}")
    return annotation.get(field_name, default)


def _read_box(annotation: Mapping[str, Any], numbers: Mapping[str, int]) -> list[float]:
    """Return class, left, top, right and bottom in pixels."""
    category, box = annotation.get("category_id"), annotation.get("bbox")
    index = numbers.get(_to_key(category))
    if index is None:
        raise _UselessError(f"its category_id {_show(category)} is that of no category in the file")
    try:
        left, top, width, height = map(float, box if isinstance(box, list) else [])
    except (TypeError, ValueError, OverflowError):
        raise _UselessError(f"its bbox must be four numbers, [left, top, width, height], found {_show(box)}") from None
    return [float(index), left, top, left + width, top + height]


def _show(value: Any) -> str:
    text = printable(json.dumps(value))
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}…"
