"""What of an image the model gets: whitened by itself, or less the mean of the training images, over their deviation."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from training.made_datasets import make_task_run

from oarlock_api.v1alpha1.dataset import Task as TaskName
from oarlock_trainer.datasets import StoredDataset, open_dataset, write_dataset
from oarlock_trainer.tasks import Batch, Rows, build_task

CPU = torch.device("cpu")


def make_images(count: int, *, seed: int) -> NDArray[np.uint8]:
    """Return images whose channels, places and brightness differ."""
    dice = np.random.default_rng(seed)
    images = dice.normal([60, 120, 180], [10, 20, 40], (count, 6, 5, 3)) + 5 * np.arange(5)[:, None]
    return images.clip(0, 255).astype(np.uint8)


TRAINING = make_images(40, seed=1)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> StoredDataset:
    folder, labels = tmp_path_factory.mktemp("colours"), np.arange(40) % 2
    write_dataset(folder, classes=["a", "b"], splits={"train": (TRAINING, labels), "validation": (TRAINING, labels)})
    return open_dataset(folder)


def prepare(dataset: StoredDataset, images: NDArray[np.uint8], *, trains: bool, **recipe: Any) -> NDArray[np.float32]:
    """Return what the model gets, as [N, H, W, C]."""
    task = build_task(make_task_run(dataset, model="any", recipe=recipe), dataset, device=CPU)
    assert dataset.manifest.task is TaskName.IMAGE_CLASSIFICATION
    rows = Rows(samples=torch.from_numpy(images), targets=torch.zeros(len(images), dtype=torch.int64))
    draws = torch.from_numpy(task.draw(0)[: len(images)]) if trains else None
    inputs: NDArray[np.float32] = task.prepare(Batch(rows=rows, draws=draws)).inputs.numpy().transpose(0, 2, 3, 1)
    return inputs


@pytest.mark.parametrize("trains", [True, False], ids=["trained", "validated"])
@pytest.mark.parametrize("subtraction", ["none", "pixel", "image"])
def test_every_image_has_mean_0_and_variance_1_when_whitened(
    dataset: StoredDataset, subtraction: str, *, trains: bool
) -> None:
    inputs = prepare(
        dataset, make_images(4, seed=2), trains=trains, augment={"whitening": True}, meanSubtraction=subtraction
    )

    assert inputs.mean(axis=(1, 2, 3)) == pytest.approx(0, abs=1e-5)
    assert inputs.var(axis=(1, 2, 3)) == pytest.approx(1, abs=1e-4)


def test_an_image_of_one_colour_becomes_zero_when_whitened(dataset: StoredDataset) -> None:
    images = np.full((1, 6, 5, 3), 77, np.uint8)

    assert np.abs(prepare(dataset, images, trains=False, augment={"whitening": True})).max() == 0


@pytest.mark.parametrize("trains", [True, False], ids=["trained", "validated"])
def test_values_are_shares_of_white_when_no_mean_is_subtracted(dataset: StoredDataset, *, trains: bool) -> None:
    images = make_images(4, seed=2)

    assert np.allclose(prepare(dataset, images, trains=trains, meanSubtraction="none"), images / 255, atol=1e-6)


@pytest.mark.parametrize(("subtraction", "axes"), [("pixel", (0, 1, 2)), ("image", 0)])
def test_the_mean_of_the_training_images_is_subtracted_and_the_deviation_of_a_channel_divides(
    dataset: StoredDataset, subtraction: str, axes: Any
) -> None:
    images, training = make_images(4, seed=2), TRAINING.astype(np.float64)

    inputs = prepare(dataset, images, trains=False, meanSubtraction=subtraction)

    expected = (images - training.mean(axis=axes)) / training.std(axis=(0, 1, 2))
    assert np.allclose(inputs, expected, atol=1e-4)
