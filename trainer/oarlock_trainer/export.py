"""The trained model for others to use: weights as safetensors, and beside them what one must know to use them.

`export/model.safetensors` holds parameters and buffers under the names of the built-in model; `export/model.json` says which
model and recipe made them, from which checkpoint, the class names, and how a sample becomes the model's input, which the metadata of
the weights' file say too; for a model of words, `export/vocabulary.txt` has these. Only rank 0 writes; `model.json` comes last, so a
folder that has it is complete.
"""

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import save
from torch import Tensor, nn

from oarlock_api.run import WorkerRun
from oarlock_api.v1alpha1.recipe import MeanSubtraction
from oarlock_trainer.datasets import StoredDataset, Tokenizer
from oarlock_trainer.datasets.tokens import format_words
from oarlock_trainer.errors import StorageError
from oarlock_trainer.tasks import Task

EXPORT_DIR = "export"
WEIGHTS_NAME = "model.safetensors"
DESCRIPTION_NAME = "model.json"
MEAN_IMAGE_NAME = "mean-image.npy"
WORDS_NAME = "vocabulary.txt"
FORMAT_VERSION = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """Which state of the run is exported."""

    checkpoint: str
    """`best` by the metric that `keepBest` names, `next best` if that one is lost, or `last` if none was validated and is intact."""
    step: int
    epoch: float
    metric: float | None

    def __str__(self) -> str:
        return f"{self.checkpoint} model (step {self.step})"


def export_model(
    run_dir: Path, model: nn.Module, *, run: WorkerRun, dataset: StoredDataset, task: Task, origin: Origin
) -> str:
    """Write the model and return its path relative to `run_dir`.

    Raises:
        StorageError: if the volume refuses.
    """
    folder = run_dir / EXPORT_DIR
    description = _describe(run, dataset, task, origin)
    tokenizer = dataset.tokenizer()
    words = format_words(tokenizer.words).encode() if tokenizer is not None and tokenizer.words else None
    if tokenizer is not None:
        description["tokenizer"] = _describe_tokenizer(tokenizer, words)
    # Inside as well, so that a file that was copied alone still says what goes in and what comes out.
    # One entry alone: safetensors writes several in any order, and equal models are equal files.
    noted = {"oarlock": json.dumps(description, ensure_ascii=False)}
    weights = save(_separate(model), metadata=noted)
    digest = hashlib.sha256(weights).hexdigest()
    description["weights"] = {"file": WEIGHTS_NAME, "sha256": digest, "bytes": len(weights)}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / DESCRIPTION_NAME).unlink(missing_ok=True)
        _write(folder / WEIGHTS_NAME, weights)
        if run.recipe.mean_subtraction is MeanSubtraction.IMAGE:
            np.save(folder / MEAN_IMAGE_NAME, dataset.mean_image())
        if words is not None:
            _write(folder / WORDS_NAME, words)
        _write(folder / DESCRIPTION_NAME, json.dumps(description, indent=1, ensure_ascii=False).encode() + b"\n")
    except OSError as error:
        raise StorageError.from_os_error(error, doing="exporting the model", path=folder) from error
    return f"{EXPORT_DIR}/{WEIGHTS_NAME}"


def _separate(model: nn.Module) -> dict[str, Tensor]:
    """Return parameters and buffers in memory of their own, which is all that safetensors takes.

    Training keeps weights channels-last, and tied weights are one tensor under two names: both names are written, so that
    either is there for whoever looks for it.
    """
    copies: dict[str, Tensor] = {}
    taken: set[int] = set()
    for name, value in model.state_dict().items():
        own = value.detach().cpu().contiguous()
        storage = own.untyped_storage()
        if storage.data_ptr() in taken or storage.nbytes() != own.nbytes:
            own = own.clone()
        taken.add(own.untyped_storage().data_ptr())
        copies[name] = own
    return copies


def _describe(run: WorkerRun, dataset: StoredDataset, task: Task, origin: Origin) -> dict[str, Any]:
    return {
        "formatVersion": FORMAT_VERSION,
        "model": run.model.to_wire(),
        "task": run.task.value,
        "classes": dataset.manifest.classes,
        "sampleShape": run.sample_shape,
        "outputs": task.outputs,
        "preprocessing": dict(task.describe_input()),
        "exported": {**asdict(origin), "by": str(run.keep_best.metric)},
        "datasetVersion": run.dataset_version,
        "trainingHash": run.training_hash,
        "recipe": run.recipe.to_wire(),
    }


def _describe_tokenizer(tokenizer: Tokenizer, words: bytes | None) -> dict[str, Any]:
    """Say how a text becomes numbers; without a file of words, a number is a byte of UTF-8 and 2."""
    said: dict[str, Any] = {"tokens": tokenizer.tokens.value, "length": tokenizer.length}
    if words is not None:
        said["words"] = {"file": WORDS_NAME, "sha256": hashlib.sha256(words).hexdigest()}
    return said


def _write(path: Path, content: bytes) -> None:
    """Write a file that is complete or absent, even if the node goes down."""
    unfinished = path.with_name(path.name + ".partial")
    with unfinished.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)
