"""Lists a source, whatever its layout."""

from collections import Counter
from pathlib import Path

import numpy as np

from oarlock_api.v1alpha1.dataset import DatasetSpec, ImageFormat, Split
from oarlock_trainer.errors import ConfigError
from oarlock_trainer.importing.csv_images import list_csv
from oarlock_trainer.importing.folders import FolderScan, scan_folders
from oarlock_trainer.importing.idx import list_idx
from oarlock_trainer.importing.plain_files import resolve_inside
from oarlock_trainer.importing.progress import ImportProgress
from oarlock_trainer.importing.samples import SPLITS, UNDIVIDED, FileSamples, Listing


def list_source(spec: DatasetSpec, source: Path, *, workspace: Path, progress: ImportProgress) -> Listing:
    """Find the samples of a source; tables are unpacked into the workspace.

    Raises:
        TrainerError: if the source is not laid out as the spec says, with what was found.
    """
    layout = spec.layout
    progress.note(f"listing {source}")
    if layout.folders is not None:
        return list_folders(source, spec.split, progress=progress)
    if spec.split.folders is not None:
        raise ConfigError(
            "spec.split.folders is set, but the layout is not folders",
            remedy="use spec.split.validation and test, or for idx name the validation files in the layout",
        )
    if layout.csv is not None:
        return list_csv(source, layout.csv, spec.image or ImageFormat(), workspace=workspace, beat=progress.beat)
    if layout.idx is not None:
        return list_idx(source, layout.idx, workspace=workspace, beat=progress.beat)
    raise ConfigError("spec.layout is not supported yet by this importer", remedy="use the layout folders, csv or idx")


def list_folders(source: Path, split: Split, *, progress: ImportProgress) -> Listing:
    """List class folders: those in the source, or those in the folder of each split.

    Raises:
        ConfigError: if the folders of two splits hold different classes.
    """
    if split.folders is None:
        scans = [(UNDIVIDED, "", scan_folders(source, beat=progress.beat))]
    else:
        named = (split.folders.train, split.folders.validation, split.folders.test)
        # What is not validated on by a folder of its own is split off from the training folder.
        train = SPLITS.index("train") if split.folders.validation is not None else UNDIVIDED
        scans = [
            (index or train, folder, _scan_split(source, folder, may_be_empty=index > 0, progress=progress))
            for index, folder in enumerate(named)
            if folder is not None
        ]
    _check_same_classes(scans)
    return _join(source, scans)


def _scan_split(source: Path, folder: str, *, may_be_empty: bool, progress: ImportProgress) -> FolderScan:
    return scan_folders(resolve_inside(source, folder), may_be_empty=may_be_empty, beat=progress.beat)


def _check_same_classes(scans: list[tuple[int, str, FolderScan]]) -> None:
    _, train_folder, train = scans[0]
    for _, folder, scan in scans[1:]:
        if scan.classes.keys() == train.classes.keys():
            continue
        extra, lacking = (sorted(a.keys() - b.keys())[:5] for a, b in _both_ways(scan.classes, train.classes))
        findings = ([f"has {', '.join(extra)}"] if extra else []) + ([f"lacks {', '.join(lacking)}"] if lacking else [])
        raise ConfigError(
            f"the classes in {folder} are not those in {train_folder}: it {' and '.join(findings)}",
            remedy="give both the same class folders; an empty folder says that a class has no samples there",
        )


def _both_ways(
    first: dict[str, list[str]], second: dict[str, list[str]]
) -> list[tuple[dict[str, list[str]], dict[str, list[str]]]]:
    return [(first, second), (second, first)]


def _join(source: Path, scans: list[tuple[int, str, FolderScan]]) -> Listing:
    classes = list(scans[0][2].classes)
    paths: list[str] = []
    labels: list[int] = []
    given: list[int] = []
    ignored: Counter[str] = Counter()
    for split, folder, scan in scans:
        for label, name in enumerate(classes):
            files = scan.classes[name]
            paths += [f"{folder}/{path}" for path in files] if folder else files
            labels += [label] * len(files)
        given += [split] * scan.count
        ignored.update(scan.ignored)
    return Listing(
        classes=classes,
        samples=FileSamples(root=source, paths=paths),
        labels=np.array(labels, dtype=np.int32),
        given=np.array(given, dtype=np.int8),
        ignored=dict(ignored),
    )
