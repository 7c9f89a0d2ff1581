"""Lists the layout with one folder per class: in the source itself, or in the folder of each split."""

from collections import Counter
from pathlib import Path

import numpy as np

from oarlock_trainer.errors import ConfigError
from oarlock_trainer.importing.folders import FileKind, FolderScan, scan_folders
from oarlock_trainer.importing.plain_files import resolve_inside
from oarlock_trainer.importing.progress import ImportProgress
from oarlock_trainer.importing.samples import FileSamples, Listing
from oarlock_trainer.importing.split_folders import SplitFolder


def list_class_folders(
    source: Path, folders: list[SplitFolder], kind: FileKind, *, progress: ImportProgress
) -> Listing:
    """List the class folders in the folder of each split.

    Raises:
        ConfigError: if the folders of two splits hold different classes.
    """
    scans = [
        (
            folder,
            scan_folders(
                resolve_inside(source, folder.path), kind=kind, may_be_empty=not folder.trains, beat=progress.beat
            ),
        )
        for folder in folders
    ]
    _check_same_classes(scans)
    return _join(source, scans)


def _check_same_classes(scans: list[tuple[SplitFolder, FolderScan]]) -> None:
    train_folder, train = scans[0]
    for folder, scan in scans[1:]:
        if scan.classes.keys() == train.classes.keys():
            continue
        extra, lacking = (sorted(a.keys() - b.keys())[:5] for a, b in _both_ways(scan.classes, train.classes))
        findings = ([f"has {', '.join(extra)}"] if extra else []) + ([f"lacks {', '.join(lacking)}"] if lacking else [])
        raise ConfigError(
            f"the classes in {folder.path} are not those in {train_folder.path}: it {' and '.join(findings)}",
            remedy="give both the same class folders; an empty folder says that a class has no samples there",
        )


def _both_ways(
    first: dict[str, list[str]], second: dict[str, list[str]]
) -> list[tuple[dict[str, list[str]], dict[str, list[str]]]]:
    return [(first, second), (second, first)]


def _join(source: Path, scans: list[tuple[SplitFolder, FolderScan]]) -> Listing:
    classes = list(scans[0][1].classes)
    paths: list[str] = []
    labels: list[int] = []
    given: list[int] = []
    ignored: Counter[str] = Counter()
    for folder, scan in scans:
        for label, name in enumerate(classes):
            files = scan.classes[name]
            paths += [folder.inner(path) for path in files]
            labels += [label] * len(files)
        given += [folder.split] * scan.count
        ignored.update(scan.ignored)
    return Listing(
        classes=classes,
        samples=FileSamples(root=source, paths=paths),
        labels=np.array(labels, dtype=np.int32),
        given=np.array(given, dtype=np.int8),
        ignored=dict(ignored),
    )
