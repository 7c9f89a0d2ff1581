"""Tasks: one for each kind of data and answer. Which one a run has is decided here, and nowhere else."""

from collections.abc import Callable

import torch

from oarlock_api.run import WorkerRun
from oarlock_api.v1alpha1.dataset import Task as TaskName
from oarlock_api.v1alpha1.recipe import LossName
from oarlock_trainer.datasets import StoredDataset
from oarlock_trainer.errors import ConfigError
from oarlock_trainer.tasks.image_classification import ImageClassification
from oarlock_trainer.tasks.image_to_image import ImageToImage
from oarlock_trainer.tasks.object_detection import ObjectDetection
from oarlock_trainer.tasks.segmentation import Segmentation
from oarlock_trainer.tasks.task import Batch, Outputs, Prepared, Rows, Tables, Task
from oarlock_trainer.tasks.text_classification import TextClassification
from oarlock_trainer.tasks.verification import Verification

__all__ = ["Batch", "Outputs", "Prepared", "Rows", "Tables", "Task", "build_task"]

_BUILDERS: dict[TaskName, Callable[..., Task]] = {
    TaskName.IMAGE_CLASSIFICATION: ImageClassification,
    TaskName.IMAGE_TO_IMAGE: ImageToImage,
    TaskName.OBJECT_DETECTION: ObjectDetection,
    TaskName.SEGMENTATION: Segmentation,
    TaskName.TEXT_CLASSIFICATION: TextClassification,
}


def build_task(run: WorkerRun, dataset: StoredDataset, *, device: torch.device) -> Task:
    """Return the run's task.

    Raises:
        ConfigError: if nothing implements it yet.
    """
    if run.task not in _BUILDERS:
        known = ", ".join(_BUILDERS)
        raise ConfigError(f"task {run.task.value!r} is not supported yet", remedy=f"use one of {known}")
    if run.recipe.loss is not None and run.recipe.loss.name is LossName.CONTRASTIVE:
        return Verification(run, dataset, device=device)
    return _BUILDERS[run.task](run, dataset, device=device)
