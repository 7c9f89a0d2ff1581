"""Lists a source, whatever its layout."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from oarlock_api.v1alpha1.dataset import DatasetSpec, ImageFormat, Task
from oarlock_trainer.errors import ConfigError
from oarlock_trainer.importing.class_folders import list_class_folders
from oarlock_trainer.importing.coco import list_coco
from oarlock_trainer.importing.csv_images import list_csv
from oarlock_trainer.importing.csv_texts import list_csv_texts
from oarlock_trainer.importing.file_lists import list_file_lists
from oarlock_trainer.importing.folders import IMAGE_FILES, TEXT_FILES
from oarlock_trainer.importing.idx import list_idx
from oarlock_trainer.importing.kitti import list_kitti
from oarlock_trainer.importing.pairs import list_pairs
from oarlock_trainer.importing.progress import ImportProgress
from oarlock_trainer.importing.samples import Listing
from oarlock_trainer.importing.split_folders import find_split_folders


def list_source(spec: DatasetSpec, source: Path, *, workspace: Path, progress: ImportProgress) -> Listing:
    """Find the samples of a source; tables are unpacked into the workspace.

    Raises:
        TrainerError: if the source is not laid out as the spec says, with what was found.
    """
    progress.note(f"listing {source}")
    listing = _list_folders(spec, source, progress) or _list_tables(spec, source, workspace, progress)
    if spec.task is not Task.IMAGE_TO_IMAGE:
        return listing
    return replace(listing, classes=[], labels=np.zeros_like(listing.labels))


def _list_folders(spec: DatasetSpec, source: Path, progress: ImportProgress) -> Listing | None:
    """List a layout that may lie in the folder of each split; None if it is another."""
    layout, folders = spec.layout, find_split_folders(spec.split)
    if layout.folders is not None:
        kind = TEXT_FILES if spec.task is Task.TEXT_CLASSIFICATION else IMAGE_FILES
        return list_class_folders(source, folders, kind, progress=progress)
    if layout.pairs is not None:
        return list_pairs(source, layout.pairs, folders, beat=progress.beat)
    if layout.kitti is not None:
        return list_kitti(source, layout.kitti, folders, beat=progress.beat)
    if layout.coco is not None:
        return list_coco(source, layout.coco, folders, beat=progress.beat)
    return None


def _list_tables(spec: DatasetSpec, source: Path, workspace: Path, progress: ImportProgress) -> Listing:
    layout, beat = spec.layout, progress.beat
    if spec.split.folders is not None:
        raise ConfigError(
            "spec.split.folders is set, but the layout is one file or list for all",
            remedy="use spec.split.validation and test, or name the validation files in the layout where it has them",
        )
    if layout.csv is not None and spec.task is Task.TEXT_CLASSIFICATION:
        return list_csv_texts(source, layout.csv, workspace=workspace, beat=beat)
    if layout.csv is not None:
        return list_csv(source, layout.csv, spec.image or ImageFormat(), workspace=workspace, beat=beat)
    if layout.idx is not None:
        return list_idx(source, layout.idx, workspace=workspace, beat=beat)
    if layout.text_files is not None:
        return list_file_lists(source, layout.text_files, beat=beat)
    raise ConfigError("spec.layout is not supported yet by this importer", remedy="use another layout")
