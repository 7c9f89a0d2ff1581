"""One shard's worth of work: read its samples, decode them, write the file. Runs in any process and depends on nothing else.

Beside a shard made of files a note is left that says what it was made from, so that the next import after a crash takes the
shard as it is, if the files, the format and the decoder are still the same.
"""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from oarlock_trainer.datasets.columns import Column, ColumnType, count_classes
from oarlock_trainer.datasets.manifest import Reject, ShardFacts
from oarlock_trainer.datasets.moments import PixelSums
from oarlock_trainer.datasets.shards import map_shard, verify_shard, write_shard
from oarlock_trainer.datasets.writing import shard_name
from oarlock_trainer.errors import TrainerError
from oarlock_trainer.importing.folders import printable
from oarlock_trainer.importing.forms import ImageForm, Notes, SampleForm
from oarlock_trainer.importing.images import PixelFormat, resize_gray
from oarlock_trainer.importing.samples import BoxSamples, Files, Samples, SpooledTexts, TableSamples
from oarlock_trainer.importing.source_files import UnreadableSampleError
from oarlock_trainer.importing.spool import map_spool
from oarlock_trainer.importing.workspace import DONE_ENDING

_BEAT_SAMPLES = 64

Advance = Callable[[int], None]
"""Told how many more samples are finished."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardTask:
    """What one shard is made from."""

    split: str
    index: int
    samples: Samples
    labels: NDArray[np.int32]
    """[N]"""
    form: SampleForm
    folder: Path

    @property
    def file(self) -> Path:
        return self.folder / shard_name(self.split, self.index)


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardResult:
    """What became of a task."""

    split: str
    index: int
    facts: ShardFacts | None
    """None if every sample was rejected."""
    class_counts: list[int]
    """What the shard holds of each class."""
    rejects: list[Reject]
    """Samples that are not in it."""
    flaws: list[Reject]
    """Parts of samples that are not in it."""
    remarks: dict[str, int]
    sums: PixelSums | None
    """Of images."""
    reused: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class _Rows:
    """Samples that were read."""

    inputs: NDArray[Any]
    targets: NDArray[Any] | None
    rejects: list[Reject] = field(default_factory=list)
    notes: Notes = field(default_factory=Notes)


def run_shard_task(task: ShardTask, advance: Advance) -> ShardResult:
    """Write the shard, or take the one that an earlier import finished.

    Raises:
        SourceReadError: if the source's volume is in trouble.
        OSError: if the shard cannot be written; it names the shard's file.
    """
    key = _compute_key(task)
    finished = _take_finished(task, key) if key else None
    if finished is not None:
        advance(len(task.samples))
        return finished
    rows = _read_samples(task, advance)
    try:
        # A file that was taken over from an earlier attempt is that one's, too: it is replaced, never written into.
        for path in (task.file, _note_path(task)):
            path.unlink(missing_ok=True)
        filled = len(rows.inputs) > 0
        facts = write_shard(task.file, task.form.columns, rows.inputs, rows.targets) if filled else None
        if key and facts:
            _note_finished(task, key, facts, rows)
    except OSError as error:
        error.filename = error.filename or str(task.file)
        raise
    return _sum_up(task, facts, rows)


def _sum_up(task: ShardTask, facts: ShardFacts | None, rows: _Rows, *, reused: bool = False) -> ShardResult:
    images = task.form.columns.input.dtype is ColumnType.UINT8
    counted = rows.targets if task.form.classes else None
    return ShardResult(
        split=task.split,
        index=task.index,
        facts=facts,
        class_counts=[] if counted is None else count_classes(task.form.task, counted, classes=task.form.classes),
        rejects=rows.rejects,
        flaws=rows.notes.flaws,
        remarks=dict(rows.notes.remarks),
        sums=PixelSums.of(rows.inputs) if images else None,
        reused=reused,
    )


def _read_samples(task: ShardTask, advance: Advance) -> _Rows:
    """Return the samples that could be read, and the others."""
    if isinstance(task.samples, TableSamples):
        form = cast("ImageForm", task.form)  # a table of pixels holds nothing else
        return _Rows(
            inputs=_read_table(task.samples, form.pixels, advance), targets=task.labels if form.classes else None
        )
    return _read_each(task, task.samples, advance)


def _read_table(samples: TableSamples, form: PixelFormat, advance: Advance) -> NDArray[np.uint8]:
    table = map_spool(samples)
    if (samples.height, samples.width) == (form.height, form.width):
        images = table[samples.rows][..., np.newaxis]
        advance(len(samples))
        return images if form.channels == 1 else np.repeat(images, form.channels, axis=-1)
    images = np.empty((len(samples), *form.shape), dtype=np.uint8)
    for target, row in enumerate(samples.rows):
        images[target] = resize_gray(table[row], form)
        if target % _BEAT_SAMPLES == _BEAT_SAMPLES - 1:
            advance(_BEAT_SAMPLES)
    advance(len(samples) % _BEAT_SAMPLES)
    return images


def _read_each(task: ShardTask, samples: Files | SpooledTexts, advance: Advance) -> _Rows:
    columns = task.form.columns
    inputs = _make_room(columns.input, len(samples))
    targets = None if columns.target is None else _make_room(columns.target, len(samples))
    rejects: list[Reject] = []
    notes = Notes()
    good = 0
    for position in range(len(samples)):
        try:
            row, target = task.form.read(samples, position, notes)
        except UnreadableSampleError as error:
            rejects.append(Reject(path=_name(samples, position), reason=str(error)))
        else:
            inputs[good] = row
            if targets is not None:
                targets[good] = task.labels[position] if target is None else target
            good += 1
        if position % _BEAT_SAMPLES == _BEAT_SAMPLES - 1:
            advance(_BEAT_SAMPLES)
    advance(len(samples) % _BEAT_SAMPLES)
    return _Rows(
        inputs=inputs[:good], targets=None if targets is None else targets[:good], rejects=rejects, notes=notes
    )


def _make_room(column: Column, count: int) -> NDArray[Any]:
    return np.empty((count, *column.shape), dtype=column.dtype)


def _name(samples: Files | SpooledTexts, position: int) -> str:
    if isinstance(samples, SpooledTexts):
        return f"line {samples.lines[position]}"
    return printable(samples.paths[position])


def _compute_key(task: ShardTask) -> str | None:
    """Return the hash of all that decides the shard's content, or None for what is not worth keeping."""
    samples = task.samples
    if isinstance(samples, TableSamples | SpooledTexts):
        return None
    digest = hashlib.sha256(f"{task.form.key} {task.split} {task.index}\n".encode())
    digest.update(task.labels.tobytes())
    for position in range(len(samples)):
        for path in samples.files_of(position):
            digest.update(f"{path}\0{_fingerprint(f'{samples.root}/{path}')}\n".encode("utf-8", "surrogateescape"))
        if isinstance(samples, BoxSamples):
            digest.update(samples.boxes[position].tobytes())
    return digest.hexdigest()


def _fingerprint(path: str) -> str:
    try:
        status = os.stat(path)  # noqa: PTH116  # called once per image
    except OSError as error:
        return f"error {error.errno}"
    return f"{status.st_size} {status.st_mtime_ns} {status.st_ino}"


def _note_finished(task: ShardTask, key: str, facts: ShardFacts, rows: _Rows) -> None:
    note = {
        "key": key,
        "facts": facts.to_wire(),
        "rejects": [reject.to_wire() for reject in rows.rejects],
        "flaws": [flaw.to_wire() for flaw in rows.notes.flaws],
        "remarks": dict(rows.notes.remarks),
    }
    # Written after the shard is on the disk; torn by a crash it is no JSON, and the shard is made again.
    _note_path(task).write_text(json.dumps(note), encoding="utf-8")


def _take_finished(task: ShardTask, key: str) -> ShardResult | None:
    try:
        note = json.loads(_note_path(task).read_text(encoding="utf-8"))
        if note["key"] != key:
            return None
        facts = ShardFacts.from_wire(note["facts"])
        verify_shard(task.folder, facts)
        inputs, *targets = map_shard(task.folder, facts, task.form.columns)
        rejects, flaws = ([Reject.from_wire(reject) for reject in note[name]] for name in ("rejects", "flaws"))
        notes = Notes(flaws=flaws, remarks=Counter(note["remarks"]))
    except (OSError, ValueError, KeyError, TypeError, TrainerError):
        return None
    rows = _Rows(inputs=inputs, targets=targets[0] if targets else None, rejects=rejects, notes=notes)
    return _sum_up(task, facts, rows, reused=True)


def _note_path(task: ShardTask) -> Path:
    return task.file.with_suffix(f".arrow{DONE_ENDING}")
