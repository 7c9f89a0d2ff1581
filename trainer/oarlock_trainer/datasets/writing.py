"""What turns finished shards into a data set: the mean image and, last of all, `dataset.json`.

`write_dataset` writes a whole data set from arrays, for those who have them in memory.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oarlock_api.v1alpha1.dataset import Task
from oarlock_trainer.datasets.manifest import (
    MANIFEST_NAME,
    DatasetManifest,
    FileFacts,
    Reject,
    ShardFacts,
    compute_version,
    describe_columns,
    render_manifest,
)
from oarlock_trainer.datasets.moments import PixelSums
from oarlock_trainer.datasets.shards import SHARD_BYTES, hash_file, write_shard

MEAN_IMAGE_NAME = "mean-image.npy"


@dataclass(frozen=True, kw_only=True, slots=True)
class DatasetContent:
    """What a data set holds beside its shards."""

    classes: list[str]
    sample_shape: tuple[int, int, int]
    shards: dict[str, list[ShardFacts]]
    class_counts: dict[str, list[int]]
    sums: PixelSums
    """Of the training split."""
    task: Task = Task.IMAGE_CLASSIFICATION
    rejects: list[Reject] = field(default_factory=list)
    ignored: dict[str, int] = field(default_factory=dict)
    made_from: dict[str, Any] = field(default_factory=dict)


def finish_dataset(folder: Path, content: DatasetContent) -> DatasetManifest:
    """Write the mean image and `dataset.json` beside the shards; both are on the disk when this returns.

    Raises:
        OSError: if they cannot be written.
    """
    mean_image = folder / MEAN_IMAGE_NAME
    with mean_image.open("wb") as file:
        np.save(file, content.sums.mean_image(), allow_pickle=False)
        os.fsync(file.fileno())
    manifest = DatasetManifest(
        version=compute_version(
            task=content.task, classes=content.classes, sample_shape=content.sample_shape, shards=content.shards
        ),
        task=content.task,
        classes=content.classes,
        sample_shape=content.sample_shape,
        columns=describe_columns(content.sample_shape),
        counts={split: sum(shard.samples for shard in shards) for split, shards in content.shards.items()},
        class_counts=content.class_counts,
        shards=content.shards,
        mean=content.sums.mean(),
        std=content.sums.std(),
        mean_image=FileFacts(file=mean_image.name, sha256=hash_file(mean_image)),
        rejects=content.rejects,
        ignored=content.ignored,
        made_from=content.made_from,
    )
    with (folder / MANIFEST_NAME).open("w", encoding="utf-8") as file:
        file.write(render_manifest(manifest))
        file.flush()
        os.fsync(file.fileno())
    return manifest


def write_dataset(
    folder: Path,
    *,
    classes: list[str],
    splits: Mapping[str, tuple[NDArray[np.uint8], NDArray[np.integer[Any]]]],
    shard_bytes: int = SHARD_BYTES,
) -> DatasetManifest:
    """Write images [N, H, W, C] with labels [N] per split as a data set in `folder`, which may be new.

    Rows stay in the order given. There must be a split called `train`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    height, width, channels = splits["train"][0].shape[1:]
    shards = {
        name: [
            write_shard(folder / shard_name(name, index), images[rows], labels[rows].astype(np.int32))
            for index, rows in enumerate(divide_rows(len(images), row_bytes=images[0].nbytes, shard_bytes=shard_bytes))
        ]
        for name, (images, labels) in splits.items()
        if len(images)
    }
    content = DatasetContent(
        classes=classes,
        sample_shape=(height, width, channels),
        shards=shards,
        class_counts={
            name: np.bincount(labels.astype(np.int64), minlength=len(classes)).tolist()
            for name, (_, labels) in splits.items()
            if len(labels)
        },
        sums=PixelSums.of(splits["train"][0]),
    )
    return finish_dataset(folder, content)


def shard_name(split: str, index: int) -> str:
    """Return the name of a shard's file."""
    return f"{split}-{index:05d}.arrow"


def divide_rows(rows: int, *, row_bytes: int, shard_bytes: int = SHARD_BYTES) -> list[slice]:
    """Return the rows of each shard: as few shards as the size allows, as even as possible. Pure."""
    shards = max(1, -(-rows // max(1, shard_bytes // row_bytes)))
    ends = [rows * (index + 1) // shards for index in range(shards)]
    return [slice(start, end) for start, end in zip([0, *ends], ends, strict=False)]
