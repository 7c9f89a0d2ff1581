"""An import from end to end, in the order in which it happens."""

from collections import Counter
from dataclasses import dataclass, field
from functools import reduce
from operator import add
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from oarlock_api.contract import DatasetFacts
from oarlock_api.run import ImportRun, content_hash
from oarlock_api.v1alpha1.dataset import DatasetSpec, Task
from oarlock_trainer.datasets import DatasetManifest, Reject
from oarlock_trainer.datasets.writing import DatasetContent, divide_rows, finish_dataset
from oarlock_trainer.importing.form_choice import choose_form
from oarlock_trainer.importing.forms import MaskForm, SampleForm, TextForm
from oarlock_trainer.importing.listing import list_source
from oarlock_trainer.importing.progress import ImportProgress
from oarlock_trainer.importing.rejects import check_divided, check_rejects, check_written, show_rejects
from oarlock_trainer.importing.samples import SPLITS, BoxSamples, Listing
from oarlock_trainer.importing.shard_tasks import ShardResult, ShardTask
from oarlock_trainer.importing.source_files import source_errors
from oarlock_trainer.importing.sources import locate_source
from oarlock_trainer.importing.space import check_space, estimate_bytes, render_bytes, storage_errors
from oarlock_trainer.importing.split import divide
from oarlock_trainer.importing.stray_values import find_stray_values
from oarlock_trainer.importing.workers import run_shard_tasks
from oarlock_trainer.importing.workspace import open_workspace, publish

_CLASSES_REPORTED = 50
_REJECTS_REPORTED = 5
_ABSENT_SHOWN = 10


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
    spec = run.spec
    source = locate_source(spec.source, source_dir=folders.source, scratch=folders.scratch, progress=progress)
    key = content_hash(_what_is_made(spec))
    with open_workspace(folders.data, key, attempt=folders.attempt) as place:
        workspace = place.folder
        listing = list_source(spec, source, workspace=workspace, progress=progress)
        rows = divide(listing, spec.split)
        check_divided(spec.task, listing.classes, count_labels(listing, rows))
        form = choose_form(spec, listing, source, rows["train"], progress=progress)
        needed = estimate_bytes(len(listing.samples), sample_bytes=form.columns.row_bytes)
        _check_room(workspace, needed)
        tasks = plan_shards(listing, rows, form, workspace)
        with storage_errors(folders.data, doing="writing the data set", needed=needed), source_errors():
            written = _write_shards(tasks, listing, form, workers=run.workers, progress=progress)
            written.remarks.update(_remark_masks(form, tasks, written))
            manifest = _finish(spec, listing, form, written=written, workspace=workspace)
        folder = publish(place, manifest, beat=progress.beat)
    _tell(manifest, folder, progress)
    return build_facts(manifest, folder)


def _what_is_made(spec: DatasetSpec) -> dict[str, object]:
    """Return the part of the spec that decides the content, not how it is stored."""
    wire = spec.to_wire()
    return {name: wire[name] for name in ("task", "source", "layout", "split", "image", "text") if name in wire}


def count_labels(listing: Listing, rows: dict[str, NDArray[np.int64]]) -> dict[str, list[int]]:
    """Return the samples per split and label. Pure."""
    return {
        name: np.bincount(listing.labels[part], minlength=len(listing.classes)).tolist() for name, part in rows.items()
    }


def plan_shards(
    listing: Listing, rows: dict[str, NDArray[np.int64]], form: SampleForm, folder: Path
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
        for index, rows_of_shard in enumerate(divide_rows(len(part), row_bytes=form.columns.row_bytes))
    ]


def _check_room(workspace: Path, needed: int) -> None:
    """Refuse early what cannot fit; shards of an import that was interrupted count as written."""
    written = sum(path.stat().st_size for path in workspace.glob("*.arrow"))
    check_space(
        workspace.parent,
        max(0, needed - written),
        what="the data set",
        remedy="enlarge the volume (spec.storage.size), or make the samples smaller (spec.image, spec.text)",
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Written:
    """What the tasks wrote, collected as they finish."""

    results: list[ShardResult] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    """Samples that are not in the data set."""
    flaws: list[Reject] = field(default_factory=list)
    """Parts of samples that are not in it."""
    remarks: Counter[str] = field(default_factory=Counter)

    def add(self, result: ShardResult) -> None:
        self.results.append(result)
        self.rejects.extend(result.rejects)
        self.flaws.extend(result.flaws)
        self.remarks.update(result.remarks)

    def of(self, split: str) -> list[ShardResult]:
        """Return the shards of a split that hold anything, in their order."""
        return sorted((r for r in self.results if r.split == split and r.facts), key=lambda result: result.index)

    def count_classes(self) -> dict[str, list[int]]:
        """Return what there is of each class in the splits that hold anything."""
        counts = {name: [result.class_counts for result in self.of(name)] for name in SPLITS}
        return {name: [sum(column) for column in zip(*parts, strict=True)] for name, parts in counts.items() if parts}


def _write_shards(
    tasks: list[ShardTask], listing: Listing, form: SampleForm, *, workers: int, progress: ImportProgress
) -> _Written:
    written = _Written(rejects=list(listing.rejects), flaws=list(listing.flaws), remarks=Counter(listing.remarks))
    for reject in (*listing.rejects, *listing.flaws):
        progress.note(f"refused {reject.path}: {reject.reason}")
    samples = len(listing.samples)
    progress.start("importing", samples, what="texts" if form.task is Task.TEXT_CLASSIFICATION else "images")
    for result in run_shard_tasks(tasks, workers=workers, progress=progress):
        for reject in (*result.rejects, *result.flaws):
            progress.note(f"refused {reject.path}: {reject.reason}")
        written.add(result)
        check_rejects(written.rejects, samples=samples + len(listing.rejects))
        check_rejects(written.flaws, samples=count_parts(listing), what="boxes")
    reused = sum(result.reused for result in written.results)
    if reused:
        progress.note(f"{reused:,} of {len(tasks):,} shards were finished by an earlier import")
    return written


def _finish(
    spec: DatasetSpec, listing: Listing, form: SampleForm, *, written: _Written, workspace: Path
) -> DatasetManifest:
    """Write what describes the shards."""
    classes, counts = name_classes(form, listing.classes, written.count_classes())
    check_written(form.task, classes, counts, listed=np.bincount(listing.labels).tolist())
    sums = [result.sums for result in written.of("train") if result.sums is not None]
    content = DatasetContent(
        task=form.task,
        classes=classes,
        columns=form.columns,
        shards={name: [result.facts for result in written.of(name) if result.facts] for name in counts},
        class_counts=counts,
        sums=reduce(add, sums) if sums else None,
        tokenizer=form.tokenizer if isinstance(form, TextForm) else None,
        rejects=sorted((*written.rejects, *written.flaws), key=lambda reject: reject.path),
        ignored=listing.ignored,
        remarks=dict(+written.remarks),
        made_from=_what_is_made(spec),
    )
    _remove_strays(workspace, content)
    return finish_dataset(workspace, content)


def count_parts(listing: Listing) -> int:
    """Return how many boxes the source has, those that were refused at once included. Pure."""
    samples = listing.samples
    return len(listing.flaws) + (sum(map(len, samples.boxes)) if isinstance(samples, BoxSamples) else 0)


def name_classes(
    form: SampleForm, listed: list[str], counts: dict[str, list[int]]
) -> tuple[list[str], dict[str, list[int]]]:
    """Return the names of the classes, and what there is of each; those of masks without a class map are their values. Pure."""
    if not isinstance(form, MaskForm):
        return listed, counts
    if form.class_map.classes:
        return form.class_map.classes, counts
    most = max((index + 1 for part in counts.values() for index, count in enumerate(part) if count), default=0)
    return [str(value) for value in range(most)], {name: part[:most] for name, part in counts.items()}


def _remark_masks(form: SampleForm, tasks: list[ShardTask], written: _Written) -> Counter[str]:
    if not isinstance(form, MaskForm) or form.class_map.classes:
        return Counter()
    classes, _ = name_classes(form, [], written.count_classes())
    return find_stray_values(form, tasks, written.results, len(classes))


def _remove_strays(workspace: Path, content: DatasetContent) -> None:
    """Remove shards that an interrupted import of a larger source left."""
    kept = {shard.file for shards in content.shards.values() for shard in shards}
    for path in workspace.glob("*.arrow"):
        if path.name not in kept:
            path.unlink()


def _tell(manifest: DatasetManifest, folder: Path, progress: ImportProgress) -> None:
    if manifest.ignored:
        found = ", ".join(f"{count:,} {ending}" for ending, count in manifest.ignored.items())
        kind = "texts" if manifest.task is Task.TEXT_CLASSIFICATION else "images"
        progress.warn(f"files that are not {kind} by their names were left out: {found}")
    for remark, count in manifest.remarks.items():
        progress.warn(f"{count:,} {remark}")
    if manifest.rejects:
        # No warning: the status tells them from the facts.
        progress.note(f"{len(manifest.rejects):,} files were refused: {show_rejects(manifest.rejects)}")
    if absent := find_absent_classes(manifest):
        more = f" and {len(absent) - _ABSENT_SHOWN:,} more" if len(absent) > _ABSENT_SHOWN else ""
        progress.warn(f"classes that no training sample shows: {', '.join(absent[:_ABSENT_SHOWN])}{more}")
    counts = ", ".join(f"{count:,} for {split}" for split, count in manifest.counts.items())
    classes = f"{len(manifest.classes):,} classes, " if manifest.classes else ""
    progress.note(f"{classes}{counts}, {render_bytes(manifest.bytes)}: {folder}")


def find_absent_classes(manifest: DatasetManifest) -> list[str]:
    """Return the classes that the training split lacks. Pure."""
    counts = manifest.class_counts.get("train", [])
    return [name for name, count in zip(manifest.classes, counts, strict=False) if not count]


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
        vocabulary_size=manifest.vocabulary.size if manifest.vocabulary else None,
        rejected=len(manifest.rejects),
        first_rejects=[f"{reject.path}: {reject.reason}" for reject in manifest.rejects[:_REJECTS_REPORTED]],
    )
