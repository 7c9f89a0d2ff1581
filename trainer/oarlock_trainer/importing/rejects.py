"""When refused files are too many: an import goes on past broken files, but does not pass off a broken source as a data set. Pure."""

from oarlock_trainer.datasets import Reject
from oarlock_trainer.errors import DataCorruptError, DataMissingError

MAX_SHARE = 0.05
"""Of all samples."""
FORGIVEN = 5
"""Files that may be refused whatever their share, since one of twenty is more than MAX_SHARE."""
MIN_PER_CLASS = 2
"""Samples below which a class cannot be learned and validated."""

_SHOWN = 3


def check_rejects(rejects: list[Reject], *, samples: int) -> None:
    """Refuse if more than 5 % of the samples, and more than 5 files, are rejected.

    Raises:
        DataCorruptError: naming the first of them and their reasons.
    """
    if len(rejects) <= max(FORGIVEN, MAX_SHARE * samples):
        return
    raise DataCorruptError(
        f"{len(rejects):,} of {samples:,} files were refused, more than {MAX_SHARE:.0%}: {show_rejects(rejects)}",
        remedy="repair or remove these files; the log of the import names each one",
    )


def check_classes(classes: list[str], counts: dict[str, list[int]], *, listed: list[int] | None = None) -> None:
    """Refuse if a class has too few samples to be learned, or none to train on.

    `counts` holds the samples per split and class; `listed` those per class before any was refused.

    Raises:
        DataMissingError: naming the classes.
    """
    if len(classes) < 2:  # noqa: PLR2004  # two classes to tell apart
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
