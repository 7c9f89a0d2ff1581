"""When refused files are too many: an import goes on past broken files, but does not pass off a broken source as a data set. Pure."""

from oarlock_api.v1alpha1.dataset import Task
from oarlock_trainer.datasets import Reject
from oarlock_trainer.errors import DataCorruptError, DataMissingError

MAX_SHARE = 0.05
"""Of all samples."""
FORGIVEN = 5
"""Files that may be refused whatever their share, since one of twenty is more than MAX_SHARE."""
MIN_CLASSES = 2
"""There is nothing to tell apart between fewer."""
MIN_PER_CLASS = 2
"""Samples below which a class cannot be learned and validated."""

_SHOWN = 3
_LABELLED = frozenset({Task.IMAGE_CLASSIFICATION, Task.TEXT_CLASSIFICATION})
"""Tasks in which every sample has one class."""


def check_rejects(rejects: list[Reject], *, samples: int, what: str = "files") -> None:
    """Refuse if more than 5 % of the samples, and more than 5 files, are rejected.

    Raises:
        DataCorruptError: naming the first of them and their reasons.
    """
    if len(rejects) <= max(FORGIVEN, MAX_SHARE * samples):
        return
    raise DataCorruptError(
        f"{len(rejects):,} of {samples:,} {what} were refused, more than {MAX_SHARE:.0%}: {show_rejects(rejects)}",
        remedy=f"repair or remove these {what}; the log of the import names each one",
    )


def check_divided(task: Task, classes: list[str], counts: dict[str, list[int]]) -> None:
    """Refuse a division that leaves nothing to train on, before any sample is read.

    Raises:
        DataMissingError: saying what is missing.
    """
    if task in _LABELLED:
        check_classes(classes, counts)
    elif not sum(counts.get("train", [])):
        raise DataMissingError("the source holds no samples to train on", remedy="check spec.layout and spec.split")


def check_written(task: Task, classes: list[str], counts: dict[str, list[int]], *, listed: list[int]) -> None:
    """Refuse a data set that nothing can be learned from.

    Raises:
        DataMissingError: saying what is missing.
    """
    if task in _LABELLED:
        check_classes(classes, counts, listed=listed)
    elif "train" not in counts:
        raise DataMissingError(
            "no training sample could be read", remedy="repair the files; the log of the import names each one"
        )
    elif task is Task.SEGMENTATION and len(classes) < MIN_CLASSES:
        raise DataMissingError(
            "the masks show a single class: 255 stands for what is not learned",
            remedy="if 255 is a class, name it in a class map (spec.layout.pairs.classMap): `0 background`, `255 object`",
        )


def check_classes(classes: list[str], counts: dict[str, list[int]], *, listed: list[int] | None = None) -> None:
    """Refuse if a class has too few samples to be learned, or none to train on.

    `counts` holds the samples per split and class; `listed` those per class before any was refused.

    Raises:
        DataMissingError: naming the classes.
    """
    if len(classes) < MIN_CLASSES:
        found = f"a single class, {classes[0]!r}" if classes else "no samples"
        raise DataMissingError(
            f"the source holds {found}", remedy="provide samples of at least two classes, and check the layout"
        )
    poor = []
    for index, name in enumerate(classes):
        total, train = sum(part[index] for part in counts.values()), counts.get("train", [0] * len(classes))[index]
        if total < MIN_PER_CLASS or not train:
            lost = f" after {listed[index] - total:,} were refused" if listed and listed[index] > total else ""
            poor.append(f"{name!r} has {total:,}, {train:,} of them for training{lost}")
    if poor:
        more = f"; and {len(poor) - _SHOWN:,} more classes" if len(poor) > _SHOWN else ""
        raise DataMissingError(
            f"classes with too few samples: {'; '.join(poor[:_SHOWN])}{more}",
            remedy=f"provide at least {MIN_PER_CLASS} readable samples of every class, one of them for training, "
            "and check which column or folder is taken for the class",
        )


def show_rejects(rejects: list[Reject], *, limit: int = _SHOWN) -> str:
    """Return the first rejects with their reasons."""
    more = f"; and {len(rejects) - limit:,} more" if len(rejects) > limit else ""
    return "; ".join(f"{reject.path}: {reject.reason}" for reject in rejects[:limit]) + more
