"""One shard's worth of work: read its samples, decode them, write the file. Runs in any process and depends on nothing else.

Beside the shard of image files a note is left that says what it was made from, so that the next import after a crash takes the
shard as it is, if the files, the format and the decoder are still the same.
"""

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from oarlock_api.v1alpha1.dataset import Task
from oarlock_trainer.datasets.columns import Columns, choose_columns
from oarlock_trainer.datasets.manifest import Reject, ShardFacts
from oarlock_trainer.datasets.moments import PixelSums
from oarlock_trainer.datasets.shards import map_shard, verify_shard, write_shard
from oarlock_trainer.datasets.writing import shard_name
from oarlock_trainer.errors import TrainerError
from oarlock_trainer.importing.folders import printable
from oarlock_trainer.importing.image_files import read_image_file
from oarlock_trainer.importing.images import (
    DECODER_VERSION,
    PixelFormat,
    UnreadableImageError,
    decode_image,
    resize_gray,
)
from oarlock_trainer.importing.samples import FileSamples, Samples, TableSamples
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
    form: PixelFormat
    folder: Path

    @property
    def columns(self) -> Columns:
        return choose_columns(Task.IMAGE_CLASSIFICATION, self.form.shape)

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
    labels: NDArray[np.int32]
    """Of the samples in the shard."""
    rejects: list[Reject]
    sums: PixelSums
    reused: bool = False


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
    images, kept, rejects = _read_samples(task, advance)
    labels = task.labels[kept]
    try:
        # A file that was taken over from an earlier attempt is that one's, too: it is replaced, never written into.
        for path in (task.file, _note_path(task)):
            path.unlink(missing_ok=True)
        facts = write_shard(task.file, task.columns, images, labels) if len(images) else None
        if key and facts:
            _note_finished(task, key, facts, kept, rejects)
    except OSError as error:
        error.filename = error.filename or str(task.file)
        raise
    return ShardResult(
        split=task.split,
        index=task.index,
        facts=facts,
        labels=labels,
        rejects=rejects,
        sums=PixelSums.of(images),
    )


def _read_samples(task: ShardTask, advance: Advance) -> tuple[NDArray[np.uint8], NDArray[np.bool_], list[Reject]]:
    """Return the images that could be read, which of the samples they are, and the others."""
    if isinstance(task.samples, TableSamples):
        return _read_table(task.samples, task.form, advance), np.ones(len(task.samples), dtype=np.bool_), []
    return _read_files(task.samples, task.form, advance)


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


def _read_files(
    samples: FileSamples, form: PixelFormat, advance: Advance
) -> tuple[NDArray[np.uint8], NDArray[np.bool_], list[Reject]]:
    images = np.empty((len(samples), *form.shape), dtype=np.uint8)
    kept = np.zeros(len(samples), dtype=np.bool_)
    rejects: list[Reject] = []
    good = 0
    for position, path in enumerate(samples.paths):
        try:
            images[good] = decode_image(read_image_file(f"{samples.root}/{path}"), form)
        except UnreadableImageError as error:
            rejects.append(Reject(path=printable(path), reason=str(error)))
        else:
            kept[position] = True
            good += 1
        if position % _BEAT_SAMPLES == _BEAT_SAMPLES - 1:
            advance(_BEAT_SAMPLES)
    advance(len(samples) % _BEAT_SAMPLES)
    return images[:good], kept, rejects


def _compute_key(task: ShardTask) -> str | None:
    """Return the hash of all that decides the shard's content, or None for what is not worth keeping."""
    if isinstance(task.samples, TableSamples):
        return None
    digest = hashlib.sha256(f"{DECODER_VERSION} {task.form} {task.split} {task.index}\n".encode())
    digest.update(task.labels.tobytes())
    for path in task.samples.paths:
        digest.update(f"{path}\0{_fingerprint(f'{task.samples.root}/{path}')}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _fingerprint(path: str) -> str:
    try:
        status = os.stat(path)  # noqa: PTH116  # called once per image
    except OSError as error:
        return f"error {error.errno}"
    return f"{status.st_size} {status.st_mtime_ns} {status.st_ino}"


def _note_finished(
    task: ShardTask, key: str, facts: ShardFacts, kept: NDArray[np.bool_], rejects: list[Reject]
) -> None:
    note = {
        "key": key,
        "facts": facts.to_wire(),
        "kept": np.flatnonzero(kept).tolist(),
        "rejects": [reject.to_wire() for reject in rejects],
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
        images, labels = map_shard(task.folder, facts, task.columns)
    except (OSError, ValueError, KeyError, TypeError, TrainerError):
        return None
    return ShardResult(
        split=task.split,
        index=task.index,
        facts=facts,
        labels=labels.copy(),
        rejects=[Reject.from_wire(reject) for reject in note["rejects"]],
        sums=PixelSums.of(images),
        reused=True,
    )


def _note_path(task: ShardTask) -> Path:
    return task.file.with_suffix(f".arrow{DONE_ENDING}")
