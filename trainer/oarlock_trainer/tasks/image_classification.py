"""Image classification: uint8 images in, one class each out."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from oarlock_api.run import WorkerRun
from oarlock_api.v1alpha1.recipe import Loss
from oarlock_trainer.augmentation.draws import Drawn
from oarlock_trainer.augmentation.mixing import mix_classes, mix_images, pair_samples
from oarlock_trainer.datasets import StoredDataset
from oarlock_trainer.losses import ClassLoss
from oarlock_trainer.tasks.class_figures import ClassFigures
from oarlock_trainer.tasks.image_inputs import ImageInputs
from oarlock_trainer.tasks.task import Batch, Prepared


class ImageClassification(ClassFigures):
    """One label for each image; while training, images may be mixed in pairs."""

    def __init__(self, run: WorkerRun, dataset: StoredDataset, *, device: torch.device) -> None:
        facts = dataset.manifest
        loss = ClassLoss(
            run.recipe.loss or Loss(),
            classes=facts.classes,
            class_counts=facts.class_counts.get("train", []),
            device=device,
        )
        super().__init__(loss, classes=run.class_count)
        self._images = ImageInputs(run, dataset, device=device)
        self._seed, self._weights = run.recipe.seed, loss.class_weights
        self._labels = dataset.split("train").targets
        self.form = self._images.form
        augment = run.recipe.augment
        self._mixes = bool(augment.mixup or augment.cutmix)

    def draw(self, step: int) -> NDArray[np.float32]:
        return self._images.draw(step)

    def pair(self, ids: NDArray[np.int64], step: int | None) -> NDArray[np.int64] | None:
        return pair_samples(ids, seed=self._seed, step=step) if self._mixes and step is not None else None

    def weigh(self, ids: NDArray[np.int64], step: int) -> float:
        """Mixed samples weigh what their own class does, so that a step's weight does not depend on pixels."""
        del step
        return float(len(ids)) if self._weights is None else float(self._weights[self._labels(ids)].sum())

    def prepare(self, batch: Batch) -> Prepared:
        inputs = self._images.normalise(self._images.change(batch.rows.samples, batch.draws))
        if batch.partners is None or batch.draws is None:
            return Prepared(inputs=inputs, targets=batch.rows.targets)
        others = self._images.normalise(self._images.change(batch.partners.samples, batch.draws))
        drawn = Drawn(self._images.augment, batch.draws)
        mixed, own = mix_images(self._images.augment, inputs.permute(0, 2, 3, 1), others.permute(0, 2, 3, 1), drawn)
        targets = mix_classes(batch.rows.targets, batch.partners.targets, own, count=self.outputs)
        return Prepared(inputs=mixed.permute(0, 3, 1, 2), targets=targets)

    def describe_input(self) -> dict[str, Any]:
        return self._images.description
