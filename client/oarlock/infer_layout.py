"""What the files in a folder are, by their names: images or texts in class folders, images with masks, images with boxes."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from oarlock_trainer.importing.folders import IMAGE_FILES, TEXT_FILES, FileKind, find_files, scan_folders

_FIELDS_OF_KITTI = 8
"""Of a line: type, truncation, occlusion, angle, and the four edges of the box."""
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
    """Look at the names in `base`, which is the source itself or the folder of its training split."""
    names = {entry.name.lower(): entry.name for entry in base.iterdir() if entry.is_dir()}
    images = names.get("images")
    if images and "masks" in names:
        class_map = next((name for name in _CLASS_MAPS if (root / name).is_file()), "")
        return FoundLayout(contents=Contents.MASKS, parts=(images, names["masks"]), class_map=class_map)
    if images and "labels" in names and _holds_kitti(base / names["labels"]):
        return FoundLayout(contents=Contents.BOXES, parts=(images, names["labels"]))
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


def _holds_kitti(folder: Path) -> bool:
    """Whether the first label file that says anything says it as KITTI does."""
    for path in sorted(folder.glob("*.txt")):
        fields = path.read_text(encoding="utf-8", errors="replace").split("\n", 1)[0].split()
        if fields:
            return len(fields) >= _FIELDS_OF_KITTI
    return False


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
