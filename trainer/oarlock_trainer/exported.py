"""Using a trained model of any task: from the folder `export/` of a run to predictions, with the preprocessing that it was trained with.

What it must not do: read anything but that folder. The model comes as weights and a description, never as code.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn

from oarlock_api.v1alpha1.dataset import Task, Tokens
from oarlock_api.v1alpha1.recipe import LossName
from oarlock_api.v1alpha1.training_job import Model
from oarlock_trainer.datasets.tokens import Tokenizer, read_words
from oarlock_trainer.export import DESCRIPTION_NAME, FORMAT_VERSION, WEIGHTS_NAME
from oarlock_trainer.models import SampleForm, build_model
from oarlock_trainer.tasks.image_inputs import whiten
from oarlock_trainer.tasks.predictions import count_outputs, read_outputs

_CLASSIFIES = frozenset({Task.IMAGE_CLASSIFICATION, Task.TEXT_CLASSIFICATION})


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportedModel:
    """A trained model of images or texts."""

    model: nn.Module
    """In evaluation mode, on the CPU."""
    classes: list[str]
    """Class names, in the order of the outputs; none where no classes are learned."""
    sample_shape: tuple[int, ...]
    """Height, width and channels of its images; the number of tokens of its texts."""
    description: dict[str, Any]
    """All of model.json: recipe, data set version, the checkpoint it comes from."""
    mean: Tensor
    """Subtracted from an image: float32, broadcast over [H, W, C]."""
    deviation: Tensor
    """Divides an image: likewise."""
    tokenizer: Tokenizer | None
    """Makes numbers of texts, as the import of its data set did; None for images, and for exports of earlier versions."""

    def predict(self, samples: NDArray[Any] | Sequence[str]) -> NDArray[Any]:
        """Return what the task predicts of images uint8 [N, H, W, C], texts, or token numbers [N, length].

        Classification: the probability of each class, float32 [N, classes]. Segmentation: the class of each pixel, uint8
        [N, H, W]. Detection: boxes, best first, float32 [N, K, 6]: class, score, centre (x, y), width and height as shares of the
        image. Image to image: values from 0 to 1, float32 [N, C, H, W]. Verification: embeddings, float32 [N, D]; two images
        whose embeddings are nearer than `description["preprocessing"]["sameClassBelow"]` are of one class.

        Raises:
            ValueError: if the samples have another shape or type, or are texts that the export has no tokenizer for.
        """
        is_text = len(self.sample_shape) == 1
        if not isinstance(samples, np.ndarray):
            samples = self._encode(samples)
        fits = samples.dtype.kind in "iu" if is_text else samples.dtype == np.uint8
        if samples.shape[1:] != self.sample_shape or not fits:
            form = f"{'numbers' if is_text else 'uint8'} [N, {', '.join(map(str, self.sample_shape))}]"
            raise ValueError(f"{'texts' if is_text else 'images'} must be {form}, got {samples.dtype} {samples.shape}")
        inputs = torch.from_numpy(samples.astype(np.int64)) if is_text else self._prepare(torch.from_numpy(samples))
        with torch.inference_mode():
            outputs = self.model(inputs)
            task, loss = _read_task(self.description)
            height, width = (0, 0) if is_text else inputs.shape[2:]
            predictions = read_outputs(
                outputs, task=task, loss=loss, classes=len(self.classes), height=height, width=width
            )
        return np.asarray(predictions.numpy())

    def classify(self, samples: NDArray[Any] | Sequence[str]) -> list[str]:
        """Return the most probable class of each sample.

        Raises:
            ValueError: as `predict`, or if the model predicts no class of a sample.
        """
        task, loss = _read_task(self.description)
        if task not in _CLASSIFIES or loss is LossName.CONTRASTIVE:
            raise ValueError(f"a model for {task.value} predicts no class of a sample: use predict()")
        return [self.classes[index] for index in self.predict(samples).argmax(axis=1)]

    def _encode(self, texts: Sequence[str]) -> NDArray[np.uint16]:
        if isinstance(texts, str):
            raise ValueError("one text was given: give a list of texts")  # noqa: TRY004  # as for every other sample
        if self.tokenizer is None:
            raise ValueError("texts were given, and the export has no tokenizer: give arrays, or export the model anew")
        return self.tokenizer.encode_all(texts)

    def _prepare(self, images: Tensor) -> Tensor:
        steps = self.description["preprocessing"]
        images, crop = images.float(), steps.get("crop")
        if crop:
            images = _cut_centre(images, crop)
        if steps.get("whiten"):
            return whiten(images).permute(0, 3, 1, 2)
        mean = (
            _cut_centre(self.mean[None], crop)[0] if crop and self.mean.dim() == len(self.sample_shape) else self.mean
        )
        return ((images - mean) / self.deviation).permute(0, 3, 1, 2)


def load_exported(folder: Path | str) -> ExportedModel:
    """Read the folder `export/` of a run.

    Raises:
        FileNotFoundError: if it holds no complete export.
        ValueError: if a newer version of Oarlock wrote it, or if its words are damaged.
    """
    folder = Path(folder)
    description = json.loads((folder / DESCRIPTION_NAME).read_text(encoding="utf-8"))
    if description["formatVersion"] > FORMAT_VERSION:
        raise ValueError(f"{folder} was written by a newer Oarlock: format {description['formatVersion']}")
    shape, steps = tuple(description["sampleShape"]), description["preprocessing"]
    crop = steps.get("crop")
    form = SampleForm(shape=(crop, crop, shape[2]) if crop else shape, vocabulary=steps.get("vocabulary", 0))
    model = build_model(Model.from_wire(description["model"]), form, _count_outputs(description))
    model.load_state_dict(load_file(folder / WEIGHTS_NAME))
    subtract, divide = steps.get("subtract", 0.0), steps.get("divide", 1.0)
    mean = np.load(folder / subtract) if isinstance(subtract, str) else np.array(subtract, np.float32)
    return ExportedModel(
        model=model.eval(),
        classes=description["classes"],
        sample_shape=shape,
        description=description,
        mean=torch.from_numpy(mean),
        deviation=torch.tensor(divide),
        tokenizer=_read_tokenizer(folder, description.get("tokenizer")),
    )


def _read_tokenizer(folder: Path, said: dict[str, Any] | None) -> Tokenizer | None:
    if said is None:
        return None
    facts, words = said.get("words"), []
    if facts is not None:
        file = folder / facts["file"]
        if hashlib.sha256(file.read_bytes()).hexdigest() != facts["sha256"]:
            raise ValueError(f"{file} is not what was exported: copy it again")
        words = read_words(file)
    return Tokenizer(tokens=Tokens(said["tokens"]), length=said["length"], words=words)


def _read_task(description: dict[str, Any]) -> tuple[Task, LossName | None]:
    loss = ((description.get("recipe") or {}).get("loss") or {}).get("name")
    return Task(description["task"]), LossName(loss) if loss else None


def _count_outputs(description: dict[str, Any]) -> int:
    """Return the size of the last layer, which exports of earlier versions do not say."""
    if "outputs" in description:
        return int(description["outputs"])
    task, loss = _read_task(description)
    channels = description["sampleShape"][-1]
    return count_outputs(task, loss=loss, classes=len(description["classes"]), channels=channels)


def _cut_centre(images: Tensor, side: int) -> Tensor:
    top, left = (images.shape[1] - side) // 2, (images.shape[2] - side) // 2
    return images[:, top : top + side, left : left + side]
