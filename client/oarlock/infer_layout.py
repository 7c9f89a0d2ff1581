"""What the files in a folder are, by their names: images or texts in class folders, images with masks, images with boxes."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from oarlock_trainer.errors import DataCorruptError
from oarlock_trainer.importing.folders import IMAGE_FILES, TEXT_FILES, FileKind, find_files, printable, scan_folders

_FIELDS_OF_KITTI = 8
"""Of a line: type, truncation, occlusion, angle, and the four edges of the box."""
_LONGEST_LINE = 10_000
_CLASS_MAPS = ("classes.txt", "classmap.txt", "class_map.txt", "labels.txt")


class Contents(StrEnum):
    """What a folder holds."""

    CLASSES = "class folders"
    MASKS = "images and masks"
    BOXES = "images and boxes"
    TEXTS = "texts"


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundLayout:
    """How a folder is laid out."""

    contents: Contents
    parts: tuple[str, ...] = ()
    """Of images with something beside them: the folder of the images, and that of the others."""
    class_map: str = ""
    """File beside the folders that says what the values of masks mean, if there is one."""

    @property
    def kind(self) -> FileKind:
        """The files that are samples."""
        return TEXT_FILES if self.contents is Contents.TEXTS else IMAGE_FILES


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundFiles:
    """The samples of a folder."""

    classes: tuple[str, ...]
    paths: Sequence[str]
    """Relative to the folder."""


def recognise_layout(root: Path, base: Path) -> FoundLayout:
    """Look at the names in `base`, which is the source itself or the folder of its training split.

    Raises:
        DataCorruptError: if there are labels beside images that nothing reads.
        OSError: if a folder cannot be read.
    """
    names = {entry.name.lower(): entry.name for entry in base.iterdir() if entry.is_dir()}
    images = names.get("images")
    if images and "masks" in names:
        class_map = next((name for name in _CLASS_MAPS if (root / name).is_file()), "")
        return FoundLayout(contents=Contents.MASKS, parts=(images, names["masks"]), class_map=class_map)
    if images and "labels" in names and (labels := _read_first_label(base / names["labels"])):
        if _is_of_kitti(labels.line):
            return FoundLayout(contents=Contents.BOXES, parts=(images, names["labels"]))
        if not _holds_only_texts(base / images):
            raise _unknown_labels(labels)
    if len(names) > 1 and all(_holds_only_texts(base / name) for name in names.values()):
        return FoundLayout(contents=Contents.TEXTS)
    return FoundLayout(contents=Contents.CLASSES)


def find_samples(base: Path, layout: FoundLayout) -> FoundFiles:
    """Return the samples below a folder.

    Raises:
        TrainerError: if the class folders are not as an import wants them.
        OSError: if a folder cannot be read.
    """
    if layout.parts:
        found = sorted(find_files(base, layout.parts[0], kind=layout.kind, ignored=Counter(), beat=lambda: None))
        return FoundFiles(classes=(), paths=found)
    scan = scan_folders(base, kind=layout.kind)
    return FoundFiles(classes=tuple(scan.classes), paths=[path for paths in scan.classes.values() for path in paths])


@dataclass(frozen=True, kw_only=True, slots=True)
class _Label:
    path: Path
    line: str


def _read_first_label(folder: Path) -> _Label | None:
    """Return the first line of the first text file that says anything."""
    for path in sorted(folder.rglob("*.txt")):
        with path.open(encoding="utf-8", errors="replace") as file:
            line = file.readline(_LONGEST_LINE).strip()
        if line:
            return _Label(path=path, line=line)
    return None


def _is_of_kitti(line: str) -> bool:
    """Whether a line has the fields of KITTI, with edges in pixels: the polygons of YOLO are as long, in shares of 1."""
    fields = line.split()
    try:
        return len(fields) >= _FIELDS_OF_KITTI and max(map(float, fields[4:_FIELDS_OF_KITTI])) > 1
    except ValueError:
        return False


def _unknown_labels(label: _Label) -> DataCorruptError:
    return DataCorruptError(
        f"the labels beside the images are not those of KITTI: {label.path} begins with {printable(label.line)[:80]!r}",
        remedy="boxes are read as KITTI and COCO have them. For KITTI write one line per object, "
        "`name 0 0 0 left top right bottom`, with edges in pixels; from YOLO's `class x y width height` these are "
        "left = (x - width / 2) * image width, right = (x + width / 2) * image width, and top and bottom likewise with "
        "the height. For COCO write one JSON file and a Dataset with layout.coco",
    )


def _holds_only_texts(folder: Path) -> bool:
    endings = {entry.suffix.lower() for entry in folder.iterdir() if entry.is_file()}
    return bool(endings & TEXT_FILES.endings) and not endings & IMAGE_FILES.endings


def format_layout(layout: FoundLayout) -> str:
    """Return the task and the layout as YAML below `spec`. Pure."""
    if layout.contents is Contents.CLASSES:
        return "  layout:\n    folders: {}              # one folder per class\n"
    if layout.contents is Contents.TEXTS:
        return (
            "  task: textClassification\n  layout:\n    folders: {}              # one folder of .txt files per class\n"
        )
    first, second = layout.parts
    if layout.contents is Contents.BOXES:
        return f"  task: objectDetection\n  layout:\n    kitti:                   # one text file per image\n      images: {first}\n      labels: {second}\n"
    class_map = f"      classMap: {layout.class_map}\n" if layout.class_map else ""
    return (
        "  task: segmentation\n  layout:\n    pairs:                   # an image and a mask have the same name\n"
        f"      images: {first}\n      masks: {second}\n{class_map}"
    )
