"""The layout of KITTI: a text file for each image, with one object a line."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from oarlock_api.v1alpha1.dataset import KittiLayout
from oarlock_trainer.datasets import Reject
from oarlock_trainer.datasets.columns import BOX_VALUES
from oarlock_trainer.importing.folders import IMAGE_FILES, FileKind, printable
from oarlock_trainer.importing.pairs import find_unpaired, list_stems
from oarlock_trainer.importing.samples import BoxSamples, Listing, index_classes
from oarlock_trainer.importing.source_files import UnreadableSampleError, read_source_file, source_errors
from oarlock_trainer.importing.split_folders import SplitFolder

_LABEL_FILES = FileKind(noun="label files", endings=frozenset({".txt"}))
_DONT_CARE = "DontCare"
REGIONS = "regions called DontCare"
_EDGES = slice(4, 8)
"""Left, top, right, bottom in the fields of a line; before them type, truncation, occlusion and angle."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Found:
    paths: list[str] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    """Class of every box, all images together."""
    edges: list[NDArray[np.float32]] = field(default_factory=list)
    """[boxes, 4] of each image."""
    given: list[int] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    ignored: Counter[str] = field(default_factory=Counter)
    remarks: Counter[str] = field(default_factory=Counter)


def list_kitti(source: Path, layout: KittiLayout, folders: list[SplitFolder], *, beat: Callable[[], None]) -> Listing:
    """List the images with their boxes; an image whose label file is empty shows nothing.

    Raises:
        DataMissingError: if a folder is missing or empty.
        StorageError: if it cannot be read.
    """
    found = _Found()
    for folder in folders:
        images = list_stems(source, folder.inner(layout.images), IMAGE_FILES, ignored=found.ignored, beat=beat)
        labels = list_stems(source, folder.inner(layout.labels), _LABEL_FILES, beat=beat)
        for stem, paths in images.items():
            beat()
            reason = find_unpaired(paths, labels.get(stem, []), folder=layout.labels)
            if not reason:
                reason = _take(source, paths[0], labels[stem][0], folder.split, found)
            if reason:
                found.rejects.append(Reject(path=printable(paths[0]), reason=reason))
        found.remarks["label files without an image"] += len(labels.keys() - images.keys())
    return _to_listing(source, found)


def _take(source: Path, image: str, labels: str, split: int, found: _Found) -> str:
    """Take an image; return why it cannot be taken."""
    try:
        with source_errors():
            content = read_source_file(f"{source}/{labels}")
        names, edges, regions = parse_labels(content)
    except UnreadableSampleError as error:
        return f"{printable(labels)}: {error}"
    found.paths.append(image)
    found.sources.append(labels)
    found.names.extend(names)
    found.edges.append(edges)
    found.given.append(split)
    found.remarks[REGIONS] += regions
    return ""


def parse_labels(content: bytes) -> tuple[list[str], NDArray[np.float32], int]:
    """Return class and edges of each object in a label file, and how many regions nobody cares about.

    Raises:
        UnreadableSampleError: naming a line that is not one of KITTI.
    """
    names: list[str] = []
    edges: list[list[float]] = []
    regions = 0
    for number, line in enumerate(content.decode("utf-8", "replace").splitlines(), 1):
        fields = line.split()
        if not fields:
            continue
        if fields[0] == _DONT_CARE:
            regions += 1
            continue
        try:
            box = [float(value) for value in fields[_EDGES]]
        except ValueError:
            box = []
        if len(box) != BOX_VALUES - 1:
            raise UnreadableSampleError(
                f"line {number} is not `type truncated occluded alpha left top right bottom`: {line[:80]!r}"
            )
        names.append(fields[0])
        edges.append(box)
    return names, np.array(edges, dtype=np.float32).reshape(len(edges), BOX_VALUES - 1), regions


def _to_listing(source: Path, found: _Found) -> Listing:
    classes, indexes = index_classes(found.names)
    ends = np.cumsum([len(edges) for edges in found.edges], dtype=np.int64)
    boxes = [
        np.column_stack((indexes[end - len(edges) : end].astype(np.float32), edges))
        for edges, end in zip(found.edges, ends.tolist(), strict=True)
    ]
    return Listing(
        classes=classes,
        samples=BoxSamples(root=source, paths=found.paths, boxes=boxes, sources=found.sources),
        labels=np.zeros(len(found.paths), dtype=np.int32),
        given=np.array(found.given, dtype=np.int8),
        ignored=dict(found.ignored),
        rejects=found.rejects,
        remarks=dict(+found.remarks),
    )
