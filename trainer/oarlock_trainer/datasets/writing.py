"""What turns finished shards into a data set: mean image or vocabulary and, last of all, `dataset.json`.

`write_dataset` writes a whole data set from arrays, for those who have them in memory.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oarlock_api.v1alpha1.dataset import Task, Tokens
from oarlock_trainer.datasets.columns import Columns, ColumnType, choose_columns, count_classes
from oarlock_trainer.datasets.manifest import (
    MANIFEST_NAME,
    DatasetManifest,
    FileFacts,
    Reject,
    ShardFacts,
    VocabularyFacts,
    compute_version,
    render_manifest,
)
from oarlock_trainer.datasets.moments import PixelSums
from oarlock_trainer.datasets.shards import SHARD_BYTES, hash_file, write_shard
from oarlock_trainer.datasets.tokens import Tokenizer, format_words

MEAN_IMAGE_NAME = "mean-image.npy"
VOCABULARY_NAME = "vocabulary.txt"

_Rows = tuple[NDArray[Any], NDArray[Any] | None]
"""Inputs and targets of some samples."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DatasetContent:
    """What a data set holds beside its shards."""

    classes: list[str]
    columns: Columns
    shards: dict[str, list[ShardFacts]]
    class_counts: dict[str, list[int]]
    sums: PixelSums | None
    """Of the training split; None for texts."""
    task: Task = Task.IMAGE_CLASSIFICATION
    tokenizer: Tokenizer | None = None
    """For texts."""
    rejects: list[Reject] = field(default_factory=list)
    ignored: dict[str, int] = field(default_factory=dict)
    remarks: dict[str, int] = field(default_factory=dict)
    made_from: dict[str, Any] = field(default_factory=dict)


def finish_dataset(folder: Path, content: DatasetContent) -> DatasetManifest:
    """Write mean image, vocabulary and `dataset.json` beside the shards; all are on the disk when this returns.

    Raises:
        OSError: if they cannot be written.
    """
    sums, vocabulary = content.sums, _write_vocabulary(folder, content.tokenizer)
    manifest = DatasetManifest(
        version=compute_version(
            task=content.task,
            classes=content.classes,
            columns=content.columns,
            shards=content.shards,
            vocabulary=vocabulary,
        ),
        task=content.task,
        classes=content.classes,
        input=content.columns.input,
        target=content.columns.target,
        counts={split: sum(shard.samples for shard in shards) for split, shards in content.shards.items()},
        class_counts=content.class_counts,
        shards=content.shards,
        mean=sums.mean() if sums else [],
        std=sums.std() if sums else [],
        mean_image=_write_mean_image(folder, sums) if sums else None,
        vocabulary=vocabulary,
        rejects=content.rejects,
        ignored=content.ignored,
        remarks=content.remarks,
        made_from=content.made_from,
    )
    _write_text(folder / MANIFEST_NAME, render_manifest(manifest))
    return manifest


def _write_mean_image(folder: Path, sums: PixelSums) -> FileFacts:
    path = folder / MEAN_IMAGE_NAME
    with path.open("wb") as file:
        np.save(file, sums.mean_image(), allow_pickle=False)
        os.fsync(file.fileno())
    return FileFacts(file=path.name, sha256=hash_file(path))


def _write_vocabulary(folder: Path, tokenizer: Tokenizer | None) -> VocabularyFacts | None:
    if tokenizer is None:
        return None
    words = None
    if tokenizer.tokens is Tokens.WORDS:
        path = folder / VOCABULARY_NAME
        _write_text(path, format_words(tokenizer.words))
        words = FileFacts(file=path.name, sha256=hash_file(path))
    return VocabularyFacts(tokens=tokenizer.tokens, size=tokenizer.size, words=words)


def _write_text(path: Path, text: str) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def write_dataset(
    folder: Path,
    *,
    classes: list[str],
    splits: Mapping[str, _Rows],
    task: Task = Task.IMAGE_CLASSIFICATION,
    tokenizer: Tokenizer | None = None,
    shard_bytes: int = SHARD_BYTES,
) -> DatasetManifest:
    """Write inputs [N, ...] with targets [N, ...] per split as a data set in `folder`, which may be new.

    Rows stay in the order given. There must be a split called `train`. Targets that are None are the inputs themselves.

    Raises:
        ValueError: if the arrays are not those of the task.
    """
    folder.mkdir(parents=True, exist_ok=True)
    inputs, targets = splits["train"]
    columns = choose_columns(task, inputs.shape[1:], None if targets is None else targets.shape[1:])
    filled = {name: split for name, split in splits.items() if len(split[0])}
    content = DatasetContent(
        classes=classes,
        columns=columns,
        shards={
            name: _write_shards(folder, name, columns, split, shard_bytes=shard_bytes) for name, split in filled.items()
        },
        class_counts={
            name: [] if targets is None else count_classes(task, targets, classes=len(classes))
            for name, (_, targets) in filled.items()
        },
        sums=PixelSums.of(inputs) if columns.input.dtype is ColumnType.UINT8 else None,
        task=task,
        tokenizer=tokenizer,
    )
    return finish_dataset(folder, content)


def _write_shards(folder: Path, split: str, columns: Columns, rows: _Rows, *, shard_bytes: int) -> list[ShardFacts]:
    inputs, targets = rows
    parts = divide_rows(len(inputs), row_bytes=columns.row_bytes, shard_bytes=shard_bytes)
    return [
        write_shard(
            folder / shard_name(split, index), columns, inputs[part], None if targets is None else targets[part]
        )
        for index, part in enumerate(parts)
    ]


def shard_name(split: str, index: int) -> str:
    """Return the name of a shard's file."""
    return f"{split}-{index:05d}.arrow"


def divide_rows(rows: int, *, row_bytes: int, shard_bytes: int = SHARD_BYTES) -> list[slice]:
    """Return the rows of each shard: as few shards as the size allows, as even as possible. Pure."""
    shards = max(1, -(-rows // max(1, shard_bytes // row_bytes)))
    ends = [rows * (index + 1) // shards for index in range(shards)]
    return [slice(start, end) for start, end in zip([0, *ends], ends, strict=False)]
