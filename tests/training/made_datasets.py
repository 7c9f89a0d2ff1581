"""Small data sets of every task that can be learned, and runs over them."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from training.small_runs import make_run

from oarlock_api.run import WorkerRun
from oarlock_api.v1alpha1.dataset import Task, Tokens
from oarlock_trainer.datasets import StoredDataset, open_dataset, write_dataset
from oarlock_trainer.datasets.tokens import Tokenizer

_CLASSES = {
    Task.IMAGE_CLASSIFICATION: ["dark", "bright", "gray"],
    Task.SEGMENTATION: ["background", "square", "stripe"],
    Task.OBJECT_DETECTION: ["square", "bar"],
    Task.IMAGE_TO_IMAGE: [],
    Task.TEXT_CLASSIFICATION: ["low", "high"],
}
_SIDE = 32


def write_task_dataset(
    folder: Path, task: Task, *, train: int = 24, validation: int = 12, tokens: Tokens = Tokens.CHARACTERS
) -> StoredDataset:
    """Write a data set whose answer is plain to see."""
    splits = {"train": _make(task, train, seed=1), "validation": _make(task, validation, seed=2)}
    words = [f"w{number}" for number in range(256)] if tokens is Tokens.WORDS else []
    tokenizer = Tokenizer(tokens=tokens, length=40, words=words) if task is Task.TEXT_CLASSIFICATION else None
    write_dataset(folder, classes=_CLASSES[task], splits=splits, task=task, tokenizer=tokenizer)
    return open_dataset(folder)


def make_task_run(dataset: StoredDataset, *, model: str, recipe: dict[str, Any], **changes: Any) -> WorkerRun:
    """Return a resolved run over `dataset`."""
    manifest = dataset.manifest
    changes = {"keepBest": {"metric": "validation/loss"}, **changes}
    if manifest.vocabulary:
        changes["vocabularySize"] = manifest.vocabulary.size
    return make_run(
        manifest.version,
        model=model,
        recipe={"batchSize": 8, "augment": {}, **recipe},
        task=manifest.task.value,
        sampleShape=list(manifest.sample_shape),
        classCount=len(manifest.classes),
        trainSamples=manifest.counts["train"],
        **changes,
    )


def _make(task: Task, count: int, *, seed: int) -> tuple[NDArray[Any], NDArray[Any] | None]:
    dice = np.random.default_rng(seed)
    if task is Task.TEXT_CLASSIFICATION:
        labels = np.arange(count) % 2
        return (dice.integers(2, 60, (count, 40)) + 100 * labels[:, None]).astype(np.uint16), labels
    images = dice.integers(0, 60, (count, _SIDE, _SIDE, 1)).astype(np.uint8)
    if task is Task.IMAGE_TO_IMAGE:
        return images, None
    if task is Task.IMAGE_CLASSIFICATION:
        labels = np.arange(count) % 3
        return images + np.array([0, 150, 70], np.uint8)[labels][:, None, None, None], labels
    return _paint(images, dice, boxes=task is Task.OBJECT_DETECTION)


def _paint(
    images: NDArray[np.uint8], dice: np.random.Generator, *, boxes: bool
) -> tuple[NDArray[np.uint8], NDArray[Any]]:
    """Paint a square and a bar into each image; return where they are, as boxes or as masks."""
    masks = np.zeros(images.shape[:3], np.uint8)
    found = np.full((len(images), 3, 5), -1, np.float32)
    for number, image in enumerate(images):
        for kind, (height, width) in enumerate(((8, 8), (4, 12))):
            top, left = dice.integers(0, 8) + 14 * kind, dice.integers(0, _SIDE - width)
            image[top : top + height, left : left + width] = 180 + 60 * kind
            masks[number, top : top + height, left : left + width] = kind + 1
            found[number, kind] = (
                kind,
                (left + width / 2) / _SIDE,
                (top + height / 2) / _SIDE,
                width / _SIDE,
                height / _SIDE,
            )
    return images, found if boxes else masks
