"""From a folder of images or texts to manifests: what data it is, which model suits it, and for how long to train.

It looks at names, sizes and a few pixels, never at everything; the import does that. What it writes is a manifest like any
other, with comments, to be kept and changed.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from oarlock.infer_layout import Contents, FoundLayout, find_samples, format_layout, recognise_layout
from oarlock.local.volumes import LOCAL_FOLDER_ANNOTATION
from oarlock_api.v1alpha1.values import OBJECT_NAME_MAX_LENGTH
from oarlock_trainer.errors import TrainerError

if TYPE_CHECKING:
    import PIL.Image

SPLIT_FOLDERS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val"),
    "test": ("test", "testing"),
}
"""Names of folders that hold a split each, in the order of preference."""

_SAMPLED_SIZES, _SAMPLED_PIXELS = 200, 24
_LARGEST_SIDE = 64
"""Pixels to which larger images are made: what the built-in models are for."""
_LARGEST_PLACED_SIDE, _SIDE_STEP = 256, 16
"""The same where every place of an image counts; models halve such images four times."""
_MODELS = {Contents.MASKS: "unet-small", Contents.BOXES: "centernet-small", Contents.TEXTS: "textcnn"}
_STEPS_WANTED = 2000
_FEWEST_EPOCHS, _MOST_EPOCHS = 5, 30
_BATCHES = (128, 64, 32, 16, 8, 4, 2, 1)


class UnsuitableFolderError(Exception):
    """The folder cannot be trained on as it is."""

    def __init__(self, message: str, *, remedy: str) -> None:
        super().__init__(f"{message}: {remedy}")


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageFolder:
    """What a folder holds."""

    root: Path
    splits: dict[str, str]
    """Folder of each split below the root; empty if the root holds the samples themselves."""
    layout: FoundLayout
    classes: tuple[str, ...]
    """Names of the class folders."""
    train_count: int
    """Samples to train on, before any are set aside for validation."""
    width: int
    height: int
    """Size at which images are to be stored."""
    is_gray: bool
    sizes: str
    """What sizes the files have, for people."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Choices:
    """What was inferred for a folder."""

    model: str
    epochs: int
    batch_size: int
    shift: int


def observe_folder(root: Path) -> ImageFolder:
    """Look at a folder of samples, or of split folders with samples in them.

    Raises:
        UnsuitableFolderError: says what is wrong and what to do.
    """
    splits = _find_splits(root)
    base = root / splits["train"] if splits else root
    try:
        layout = recognise_layout(root, base)
        found = find_samples(base, layout)
    except TrainerError as error:
        raise UnsuitableFolderError(str(error), remedy=error.remedy) from None
    except OSError as error:
        raise UnsuitableFolderError(f"{base} cannot be read ({error.strerror})", remedy="check its rights") from None
    if not found.paths:
        raise UnsuitableFolderError(f"{base / layout.parts[0]} holds no images", remedy="check that they are there")
    texts = layout.contents is Contents.TEXTS
    sample = [base / path for path in _spread(found.paths, _SAMPLED_SIZES)]
    sizes, is_gray = ([], False) if texts else _look_at(sample)
    width, height = (0, 0) if texts else _choose_size(sizes, placed=bool(layout.parts))
    return ImageFolder(
        root=root.absolute(),
        splits=splits,
        layout=layout,
        classes=found.classes,
        train_count=len(found.paths),
        width=width,
        height=height,
        is_gray=is_gray,
        sizes="" if texts else _describe_sizes(sizes),
    )


def choose(folder: ImageFolder) -> Choices:
    """Choose model, batch and epochs for a folder. Pure."""
    share = 1.0 if folder.splits.get("validation") else 0.75
    samples = max(1, int(folder.train_count * share))
    batch = next(size for size in _BATCHES if size <= max(1, samples // 10))
    side = min(folder.width, folder.height)
    epochs = round(_STEPS_WANTED * batch / samples)
    return Choices(
        model=_MODELS.get(folder.layout.contents) or _choose_model(side, is_gray=folder.is_gray),
        epochs=min(_MOST_EPOCHS, max(_FEWEST_EPOCHS, epochs)),
        batch_size=batch,
        shift=max(1, side // 14),
    )


def _choose_model(side: int, *, is_gray: bool) -> str:
    if side < 8:  # noqa: PLR2004  # what resnet needs
        return "mlp"
    return "lenet" if is_gray and 16 <= side <= 32 else "resnet"  # noqa: PLR2004  # what lenet was made for


def derive_name(root: Path, *, taken: Iterable[str] = ()) -> str:
    """Return a name for an object after a folder; another one, with a hash of the path, if the plain one is taken."""
    words = re.sub(r"[^a-z0-9]+", "-", root.absolute().name.lower()).strip("-")
    name = words if words[:1].isalpha() else f"images-{words}".rstrip("-")
    name = name[: OBJECT_NAME_MAX_LENGTH - 12].rstrip("-")  # room for the model's name behind it
    if name not in set(taken):
        return name
    return f"{name}-{hashlib.sha256(str(root.absolute()).encode()).hexdigest()[:4]}"


def _find_splits(root: Path) -> dict[str, str]:
    """Return the split folders in a folder that holds nothing but such; empty if it holds classes."""
    names = {entry.name.lower(): entry.name for entry in _list_folders(root)}
    found = {
        split: names[name]
        for split, candidates in SPLIT_FOLDERS.items()
        for name in reversed(candidates)
        if name in names
    }
    only_splits = len(found) == len(names) and "train" in found
    return found if only_splits and _list_folders(root / found["train"]) else {}


def _list_folders(root: Path) -> list[Path]:
    if not root.is_dir():
        return []
    return [entry for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith(".")]


def _spread(paths: Sequence[str], count: int) -> list[str]:
    """Return at most `count` of the paths, evenly spread over them."""
    return [paths[index * len(paths) // count] for index in range(count)] if len(paths) > count else list(paths)


def _look_at(paths: Sequence[Path]) -> tuple[list[tuple[int, int]], bool]:
    """Return the sizes of images, and whether all of those that were looked at closely are gray."""
    from PIL import Image, UnidentifiedImageError

    sizes: list[tuple[int, int]] = []
    is_gray = True
    closely = set(map(str, _spread(list(map(str, paths)), _SAMPLED_PIXELS)))
    for path in paths:
        try:
            with Image.open(path) as image:
                sizes.append(image.size)
                if str(path) in closely:
                    is_gray = is_gray and _is_gray(image)
        except (UnidentifiedImageError, OSError, Image.DecompressionBombError):
            continue  # the import names the files that it rejects
    if not sizes:
        raise UnsuitableFolderError(
            f"none of {len(paths)} files could be read as an image, {paths[0]} among them",
            remedy="check that they are images",
        )
    return sizes, is_gray


def _is_gray(image: "PIL.Image.Image") -> bool:
    if image.mode in ("1", "L", "LA", "I", "I;16", "F"):
        return True
    red, green, blue = image.convert("RGB").resize((16, 16)).split()
    return bool(red.tobytes() == green.tobytes() == blue.tobytes())


def _choose_size(sizes: Sequence[tuple[int, int]], *, placed: bool = False) -> tuple[int, int]:
    """Return the size at which to store: the usual one, made smaller if need be with its proportions."""
    width, height = (median(side) for side in zip(*sizes, strict=True))
    factor = min(1.0, (_LARGEST_PLACED_SIDE if placed else _LARGEST_SIDE) / max(width, height))
    step = _SIDE_STEP if placed else 1
    return max(step, round(width * factor / step) * step), max(step, round(height * factor / step) * step)


def _describe_sizes(sizes: Sequence[tuple[int, int]]) -> str:
    counts = Counter(sizes)
    if len(counts) == 1:
        width, height = next(iter(counts))
        return f"{width}×{height} pixels"  # noqa: RUF001  # the sign for sizes
    widths, heights = zip(*counts, strict=True)
    return f"{min(widths)}×{min(heights)} to {max(widths)}×{max(heights)} pixels"  # noqa: RUF001


def format_manifests(folder: ImageFolder, choices: Choices, *, file: Path) -> str:
    """Return the manifests as YAML with comments that teach the fields; `file` is where they will be. Pure."""
    name = file.stem
    return f"""\
# Made by `oarlock run` from {_shorten(str(folder.root))}
# {_describe(folder)}
# Change what you like and run it again: oarlock run {_shorten(str(file))}
apiVersion: v1
kind: PersistentVolumeClaim
metadata:
  name: {name}-images
  annotations:
    {format_folder_line(folder.root)}   # on a cluster, a claim that holds the files takes its place
spec:
  accessModes: [ReadOnlyMany]
  resources: {{requests: {{storage: 1Gi}}}}
---
apiVersion: oarlock.dev/v1alpha1
kind: Dataset
metadata:
  name: {name}
spec:
  source:
    volume: {{claim: {name}-images}}
{format_layout(folder.layout)}  split:
{_format_split(folder)}
{_format_samples(folder)}---
apiVersion: oarlock.dev/v1alpha1
kind: TrainingJob
metadata:
  name: {name}-{choices.model.removesuffix("-small")}
spec:
  dataset: {{name: {name}}}
  model: {{name: {choices.model}}}
  recipe:
    epochs: {choices.epochs}
    batchSize: {choices.batch_size}
{_format_augment(folder, choices)}"""


def _describe(folder: ImageFolder) -> str:
    if folder.layout.contents is Contents.TEXTS:
        what = "texts"
    else:
        what = f"{'gray' if folder.is_gray else 'colour'} images of {folder.sizes}"
    if not folder.classes:
        return f"{folder.train_count:,} {what}: {folder.layout.contents}"
    shown = _shorten(", ".join(folder.classes[:8])) + (", …" if len(folder.classes) > 8 else "")  # noqa: PLR2004
    return f"{folder.train_count:,} {what} in {len(folder.classes)} classes: {shown}"


def _format_samples(folder: ImageFolder) -> str:
    if folder.layout.contents is Contents.TEXTS:
        return "  text:\n    tokens: words            # or characters\n    maxLength: 256           # of each text\n"
    return f"""\
  image:
    width: {folder.width}
    height: {folder.height}
    channels: {"gray" if folder.is_gray else "rgb"}
    resize: squash           # or crop, which keeps proportions and cuts the edges
"""


def _format_augment(folder: ImageFolder, choices: Choices) -> str:
    if folder.layout.contents is not Contents.CLASSES:
        return ""
    return f"""\
    augment:
      shift: {choices.shift}               # every training image is moved by up to so many pixels
      flip: none             # horizontal, if a mirrored image means the same
"""


def format_folder_line(root: Path) -> str:
    """Return the line by which manifests made for a folder are recognised."""
    return f"{LOCAL_FOLDER_ANNOTATION}: {_quote(str(root.absolute()))}"


def _format_split(folder: ImageFolder) -> str:
    if not folder.splits:
        of = "of every class" if folder.classes else "of all samples"
        return f"    validation: 0.25         # {of}"
    lines = [f"      {split}: {_quote(name)}" for split, name in folder.splits.items()]
    return "\n".join(["    folders:", *lines])


def _quote(text: str) -> str:
    """Return a YAML scalar for any text: JSON's form of it is one."""
    return json.dumps(text, ensure_ascii=False)


def _shorten(text: str) -> str:
    """Return a text that fits into a comment."""
    return " ".join(text.split())
