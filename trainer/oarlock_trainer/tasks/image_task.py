"""What tasks on images share when each sample stands alone and weighs the same."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from oarlock_api.run import WorkerRun
from oarlock_trainer.datasets import StoredDataset
from oarlock_trainer.tasks.image_inputs import ImageInputs


class ImageTask:
    """Inputs are images; what they are compared with is for the tasks to say."""

    def __init__(self, run: WorkerRun, dataset: StoredDataset, *, device: torch.device) -> None:
        self._images = ImageInputs(run, dataset, device=device)
        self.form = self._images.form

    def draw(self, step: int) -> NDArray[np.float32]:
        return self._images.draw(step)

    def pair(self, ids: NDArray[np.int64], step: int | None) -> NDArray[np.int64] | None:
        del ids, step
        return None

    def weigh(self, ids: NDArray[np.int64], step: int) -> float:
        del step
        return float(len(ids))

    def describe_input(self) -> dict[str, Any]:
        return self._images.description
