"""The trained model as others serve it: stored samples in, predictions out, with the preparation inside.

Images come as uint8 [N, H, W, C], texts as int64 [N, length] of token numbers; what comes out is what the task predicts. It has no
part in training, and knows nothing that is not in the run.
"""

import torch
from torch import Tensor, nn

from oarlock_api.run import WorkerRun
from oarlock_trainer.datasets import StoredDataset
from oarlock_trainer.tasks import Task
from oarlock_trainer.tasks.image_inputs import ImageInputs
from oarlock_trainer.tasks.task import main_output

_MADE_WITH = 2
"""Samples of an example: one would be taken for a constant."""


class Servable(nn.Module):
    """A model between its preparation and its predictions."""

    def __init__(self, model: nn.Module, *, task: Task, run: WorkerRun, dataset: StoredDataset) -> None:
        super().__init__()
        self.model = model
        self._task = task
        self._images = None if task.form.is_text else ImageInputs(run, dataset, device=torch.device("cpu"))
        self._shape = tuple(run.sample_shape)
        self.eval()

    def forward(self, samples: Tensor) -> Tensor:
        inputs = samples if self._images is None else self._images.normalise(self._images.change(samples, None))
        return self._task.predict(main_output(self.model(inputs)))

    def make_example(self) -> Tensor:
        """Return samples that hold nothing."""
        kind = torch.int64 if self._images is None else torch.uint8
        return torch.zeros((_MADE_WITH, *self._shape), dtype=kind)
