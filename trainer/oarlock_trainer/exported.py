"""Using a trained model: from the folder `export/` of a run to predictions, with the preprocessing that it was trained with.

What it must not do: read anything but that folder. The model comes as weights and a description, never as code.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn

from oarlock_api.v1alpha1.training_job import Model
from oarlock_trainer.export import DESCRIPTION_NAME, FORMAT_VERSION, WEIGHTS_NAME
from oarlock_trainer.models import SampleForm, build_model


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportedModel:
    """A trained classifier of images."""

    model: nn.Module
    """In evaluation mode, on the CPU."""
    classes: list[str]
    """Class names, in the order of the outputs."""
    sample_shape: tuple[int, int, int]
    """Height, width and channels of its images."""
    description: dict[str, Any]
    """All of model.json: recipe, data set version, the checkpoint it comes from."""
    mean: Tensor
    """Subtracted from an image: float32, broadcast over [H, W, C]."""
    deviation: Tensor
    """Divides an image: likewise."""

    def predict(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the probability of each class, [N, classes], for images uint8 [N, H, W, C].

        Raises:
            ValueError: if the images have another shape or type.
        """
        if images.shape[1:] != self.sample_shape or images.dtype != np.uint8:
            raise ValueError(
                f"images must be uint8 [N, {', '.join(map(str, self.sample_shape))}], got {images.dtype} {images.shape}"
            )
        samples = (torch.from_numpy(images).float() - self.mean) / self.deviation
        with torch.inference_mode():
            probabilities = self.model(samples.permute(0, 3, 1, 2)).softmax(dim=1)
        return np.asarray(probabilities.numpy(), dtype=np.float32)

    def classify(self, images: NDArray[np.uint8]) -> list[str]:
        """Return the most probable class of each image, uint8 [N, H, W, C]."""
        return [self.classes[index] for index in self.predict(images).argmax(axis=1)]


def load_exported(folder: Path | str) -> ExportedModel:
    """Read the folder `export/` of a run.

    Raises:
        FileNotFoundError: if it holds no complete export.
        ValueError: if a newer version of Oarlock wrote it.
    """
    folder = Path(folder)
    description = json.loads((folder / DESCRIPTION_NAME).read_text(encoding="utf-8"))
    if description["formatVersion"] > FORMAT_VERSION:
        raise ValueError(f"{folder} was written by a newer Oarlock: format {description['formatVersion']}")
    height, width, channels = description["sampleShape"]
    form = SampleForm(shape=(height, width, channels))
    model = build_model(Model.from_wire(description["model"]), form, len(description["classes"]))
    model.load_state_dict(load_file(folder / WEIGHTS_NAME))
    subtract, divide = (description["preprocessing"][key] for key in ("subtract", "divide"))
    mean = np.load(folder / subtract) if isinstance(subtract, str) else np.array(subtract, np.float32)
    return ExportedModel(
        model=model.eval(),
        classes=description["classes"],
        sample_shape=(height, width, channels),
        description=description,
        mean=torch.from_numpy(mean),
        deviation=torch.tensor(divide),
    )
