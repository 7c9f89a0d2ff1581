"""Object detection: boxes with classes in images, found as peaks of a heat map (Zhou et al. 2019, "Objects as Points").

Outputs are [N, classes + 4, H / 4, W / 4]: logits of a heat map for each class, then width and height in cells, then how far
right and down of its cell's corner the centre lies. Targets are boxes float32 [N, M, 5]: class, centre, width and height as
shares of the image; class -1 is padding.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from oarlock_api.run import WorkerRun
from oarlock_api.v1alpha1.recipe import Loss
from oarlock_trainer.augmentation import move_boxes
from oarlock_trainer.augmentation.boxes import clip_boxes, window_boxes
from oarlock_trainer.augmentation.draws import Drawn
from oarlock_trainer.datasets import StoredDataset
from oarlock_trainer.tasks.average_precision import (
    compute_average_precision,
    count_matches,
    count_tallies,
    cumulate,
)
from oarlock_trainer.tasks.heat_maps import draw_targets, heat_losses
from oarlock_trainer.tasks.image_task import ImageTask
from oarlock_trainer.tasks.predictions import measure_extent, read_boxes
from oarlock_trainer.tasks.task import Batch, Outputs, Prepared, Tables, main_output

_SIZE_WEIGHT = 0.1
"""Of the size in the loss, as the authors have it: sizes in cells are large numbers."""


class ObjectDetection(ImageTask):
    """Boxes and their classes."""

    training_quantities: tuple[str, ...] = ("loss",)

    def __init__(self, run: WorkerRun, dataset: StoredDataset, *, device: torch.device) -> None:
        super().__init__(run, dataset, device=device)
        self._classes = run.class_count
        self._gamma = (run.recipe.loss or Loss()).focal_gamma
        self.outputs = self._classes + 4
        self.tallies = 1 + count_tallies(self._classes)
        self._height, self._width = run.sample_shape[:2]
        self._extent = measure_extent(self.form.height, self.form.width)

    def prepare(self, batch: Batch) -> Prepared:
        inputs = self._images.normalise(self._images.change(batch.rows.samples, batch.draws))
        boxes = batch.rows.targets
        if batch.draws is None:
            return Prepared(inputs=inputs, targets=self._crop_centre(boxes))
        augment = self._images.augment
        drawn = Drawn(augment, batch.draws)
        moved = move_boxes(augment, boxes, drawn, height=self._height, width=self._width)
        return Prepared(inputs=inputs, targets=moved)

    def _crop_centre(self, boxes: Tensor) -> Tensor:
        crop = self._images.augment.crop
        if crop is None:
            return boxes
        height, width = self._height, self._width
        top, left = (boxes.new_full((len(boxes),), (side - crop) // 2) for side in (height, width))
        return clip_boxes(window_boxes(boxes, top, left, crop / height, crop / width, height=height, width=width))

    def compute_loss(self, outputs: Outputs, targets: Tensor) -> Tensor:
        return self.sample_losses(main_output(outputs), targets).sum()

    def sample_losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return [N]: focal loss of the heat map, and distances of size and place, for each box of an image."""
        maps = outputs.float()
        height, width = maps.shape[2:]
        wanted = draw_targets(targets, classes=self._classes, height=height, width=width, extent=self._extent)
        heat = heat_losses(maps[:, : self._classes], wanted.heat, gamma=self._gamma)
        off = (maps[:, self._classes :] - wanted.places).abs() * wanted.is_centre
        size, place = off[:, :2].sum(dim=(1, 2, 3)), off[:, 2:].sum(dim=(1, 2, 3))
        boxes = (targets[:, :, 0] >= 0).sum(dim=1).clamp(min=1)
        losses: Tensor = (heat + _SIZE_WEIGHT * size + place) / boxes
        return losses

    def measure_training(self, loss: Tensor, outputs: Outputs, targets: Tensor) -> Tensor:
        del outputs, targets
        return loss[None]

    def tally(self, outputs: Tensor, targets: Tensor) -> Tensor:
        loss = self.sample_losses(outputs, targets).sum().double()
        return torch.cat((loss[None], count_matches(self.predict(outputs), targets, classes=self._classes)))

    def summarise(self, tallies: NDArray[np.float64], samples: int) -> dict[str, float]:
        precisions = compute_average_precision(tallies[1:], classes=self._classes)
        known = precisions[~np.isnan(precisions)]
        return {"loss": float(tallies[0]) / samples, "map50": float(known.mean()) if len(known) else 0.0}

    def tabulate(self, tallies: NDArray[np.float64]) -> Tables:
        counted = cumulate(tallies[1:], classes=self._classes)
        precisions = compute_average_precision(tallies[1:], classes=self._classes)
        return Tables(per_class={"averagePrecision50": precisions.tolist(), "support": counted.boxes.tolist()})

    def predict(self, outputs: Tensor) -> Tensor:
        """Return float32 [N, K, 6]: class, score, centre, width and height as shares of the image, best first."""
        return read_boxes(outputs, classes=self._classes, extent=self._extent)
