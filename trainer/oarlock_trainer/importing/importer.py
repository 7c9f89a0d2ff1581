"""An import from end to end, in the order in which it happens."""

from dataclasses import dataclass, field
from functools import reduce
from operator import add
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from oarlock_api.contract import DatasetFacts
from oarlock_api.run import ImportRun, content_hash
from oarlock_api.v1alpha1.dataset import DatasetSpec, ImageFormat, Task
from oarlock_trainer.datasets import DatasetManifest, Reject
from oarlock_trainer.datasets.columns import choose_columns
from oarlock_trainer.datasets.writing import DatasetContent, divide_rows, finish_dataset
from oarlock_trainer.errors import ConfigError
from oarlock_trainer.importing.image_files import source_errors
from oarlock_trainer.importing.images import PixelFormat
from oarlock_trainer.importing.listing import list_source
from oarlock_trainer.importing.progress import ImportProgress
from oarlock_trainer.importing.rejects import check_classes, check_rejects, show_rejects
from oarlock_trainer.importing.sample_shape import choose_format
from oarlock_trainer.importing.samples import SPLITS, Listing
from oarlock_trainer.importing.shard_tasks import ShardResult, ShardTask
from oarlock_trainer.importing.sources import locate_source
from oarlock_trainer.importing.space import check_space, estimate_bytes, render_bytes, storage_errors
from oarlock_trainer.importing.split import divide
from oarlock_trainer.importing.workers import run_shard_tasks
from oarlock_trainer.importing.workspace import open_workspace, publish

_CLASSES_REPORTED = 50
_REJECTS_REPORTED = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class ImportFolders:
    """Where an import reads and writes."""

    data: Path
    """Folder of this Dataset on its volume, in which versions appear."""
    source: Path | None = None
    """What a volume source means, mounted."""
    scratch: Path | None = None
    """Where a package is unpacked."""
    attempt: int = 0
    """Which import of the Dataset this is: each has a folder of its own to work in, and an older one cannot publish any more."""


def import_dataset(run: ImportRun, folders: ImportFolders, *, progress: ImportProgress) -> DatasetFacts:
    """Write the Dataset as a new version, or find that the same version is there already.

    Raises:
        TrainerError: if it cannot be had; nothing of it is visible then.
        ImportStoppedError: if it was asked to stop; what is finished is used by the next import.
    """
    if run.spec.task is not Task.IMAGE_CLASSIFICATION:
        raise ConfigError(f"spec.task {run.spec.task} is not supported yet", remedy="use imageClassification")
    source = locate_source(run.spec.source, source_dir=folders.source, scratch=folders.scratch, progress=progress)
    key = content_hash(_what_is_made(run.spec))
    with open_workspace(folders.data, key, attempt=folders.attempt) as place:
        workspace = place.folder
        listing = list_source(run.spec, source, workspace=workspace, progress=progress)
        form = choose_format(listing, run.spec.image or ImageFormat())
        rows = divide(listing, run.spec.split)
        check_classes(listing.classes, count_classes(listing, rows))
        needed = estimate_bytes(len(listing.samples), sample_bytes=form.bytes)
        _check_room(workspace, needed)
        tasks = plan_shards(listing, rows, form, workspace)
        with storage_errors(folders.data, doing="writing the data set", needed=needed), source_errors():
            written = _write_shards(tasks, samples=len(listing.samples), workers=run.workers, progress=progress)
            manifest = _finish(run.spec, listing, form, written=written, workspace=workspace)
        folder = publish(place, manifest, beat=progress.beat)
    _tell(manifest, folder, progress)
    return build_facts(manifest, folder)


def _what_is_made(spec: DatasetSpec) -> dict[str, object]:
    """Return the part of the spec that decides the content, not how it is stored."""
    wire = spec.to_wire()
    return {name: wire[name] for name in ("task", "source", "layout", "split", "image") if name in wire}


def count_classes(listing: Listing, rows: dict[str, NDArray[np.int64]]) -> dict[str, list[int]]:
    """Return the samples per split and class. Pure."""
    return {
        name: np.bincount(listing.labels[part], minlength=len(listing.classes)).tolist() for name, part in rows.items()
    }


def plan_shards(
    listing: Listing, rows: dict[str, NDArray[np.int64]], form: PixelFormat, folder: Path
) -> list[ShardTask]:
    """Return the work: each split in as few shards as their size allows. Pure."""
    return [
        ShardTask(
            split=split,
            index=index,
            samples=listing.samples.take(part[rows_of_shard]),
            labels=listing.labels[part[rows_of_shard]],
            form=form,
            folder=folder,
        )
        for split, part in rows.items()
        for index, rows_of_shard in enumerate(divide_rows(len(part), row_bytes=form.bytes))
    ]


def _check_room(workspace: Path, needed: int) -> None:
    """Refuse early what cannot fit; shards of an import that was interrupted count as written."""
    written = sum(path.stat().st_size for path in workspace.glob("*.arrow"))
    check_space(
        workspace.parent,
        max(0, needed - written),
        what="the data set",
        remedy="enlarge the volume (spec.storage.size), or make the images smaller (spec.image)",
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Written:
    """What the tasks wrote, collected as they finish."""

    results: list[ShardResult] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)

    def of(self, split: str) -> list[ShardResult]:
        """Return the shards of a split that hold anything, in their order."""
        return sorted((r for r in self.results if r.split == split and r.facts), key=lambda result: result.index)

    def count_classes(self, listing: Listing) -> dict[str, list[int]]:
        labels = {name: [result.labels for result in self.of(name)] for name in SPLITS}
        return {
            name: np.bincount(np.concatenate(parts), minlength=len(listing.classes)).tolist()
            for name, parts in labels.items()
            if parts
        }


def _write_shards(tasks: list[ShardTask], *, samples: int, workers: int, progress: ImportProgress) -> _Written:
    written = _Written()
    progress.start("importing", samples)
    for result in run_shard_tasks(tasks, workers=workers, progress=progress):
        for reject in result.rejects:
            progress.note(f"refused {reject.path}: {reject.reason}")
        written.results.append(result)
        written.rejects.extend(result.rejects)
        check_rejects(written.rejects, samples=samples)
    reused = sum(result.reused for result in written.results)
    if reused:
        progress.note(f"{reused:,} of {len(tasks):,} shards were finished by an earlier import")
    return written


def _finish(
    spec: DatasetSpec, listing: Listing, form: PixelFormat, *, written: _Written, workspace: Path
) -> DatasetManifest:
    """Write what describes the shards."""
    counts = written.count_classes(listing)
    check_classes(listing.classes, counts, listed=np.bincount(listing.labels).tolist())
    content = DatasetContent(
        classes=listing.classes,
        columns=choose_columns(Task.IMAGE_CLASSIFICATION, form.shape),
        shards={name: [result.facts for result in written.of(name) if result.facts] for name in counts},
        class_counts=counts,
        sums=reduce(add, (result.sums for result in written.of("train"))),
        rejects=sorted(written.rejects, key=lambda reject: reject.path),
        ignored=listing.ignored,
        made_from=_what_is_made(spec),
    )
    _remove_strays(workspace, content)
    return finish_dataset(workspace, content)


def _remove_strays(workspace: Path, content: DatasetContent) -> None:
    """Remove shards that an interrupted import of a larger source left."""
    kept = {shard.file for shards in content.shards.values() for shard in shards}
    for path in workspace.glob("*.arrow"):
        if path.name not in kept:
            path.unlink()


def _tell(manifest: DatasetManifest, folder: Path, progress: ImportProgress) -> None:
    if manifest.ignored:
        found = ", ".join(f"{count:,} {ending}" for ending, count in manifest.ignored.items())
        progress.warn(f"files that are not images by their names were left out: {found}")
    if manifest.rejects:
        progress.warn(f"{len(manifest.rejects):,} files were refused: {show_rejects(manifest.rejects)}")
    counts = ", ".join(f"{count:,} for {split}" for split, count in manifest.counts.items())
    progress.note(f"{len(manifest.classes):,} classes, {counts}, {render_bytes(manifest.bytes)}: {folder}")


def build_facts(manifest: DatasetManifest, folder: Path) -> DatasetFacts:
    """Return what the operator is told. Pure."""
    return DatasetFacts(
        version=manifest.version,
        path=f"{folder.parent.name}/{folder.name}",
        bytes=manifest.bytes,
        classes=manifest.classes[:_CLASSES_REPORTED],
        class_count=len(manifest.classes),
        counts=manifest.counts,
        class_counts={name: counts[:_CLASSES_REPORTED] for name, counts in manifest.class_counts.items()},
        sample_shape=list(manifest.sample_shape),
        rejected=len(manifest.rejects),
        first_rejects=[f"{reject.path}: {reject.reason}" for reject in manifest.rejects[:_REJECTS_REPORTED]],
    )
