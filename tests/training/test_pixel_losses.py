"""The losses of segmentation are those of their formulas, written out in numpy, by the settings of the recipe."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from training.made_datasets import make_task_run, write_task_dataset

from oarlock_api.v1alpha1.dataset import Task as TaskName
from oarlock_trainer.batches import StreamedSamples
from oarlock_trainer.datasets import StoredDataset, open_dataset
from oarlock_trainer.datasets.columns import IGNORED_PIXEL
from oarlock_trainer.tasks import build_task

CPU = torch.device("cpu")
MASKS = np.random.default_rng(5).integers(0, 3, (2, 4, 5)).astype(np.uint8)
MASKS[0, 0] = MASKS[1, :, 4] = IGNORED_PIXEL
LOGITS = np.random.default_rng(6).normal(0, 1.5, (2, 3, 4, 5)).astype(np.float32)

WEIGHTINGS: list[dict[str, Any]] = [{}, {"classWeights": "balanced"}, {"weightByClass": {"stripe": 4}}]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> StoredDataset:
    folder = tmp_path_factory.mktemp("pixels")
    write_task_dataset(folder, TaskName.SEGMENTATION, train=4, validation=1)
    return open_dataset(folder)


def compute(dataset: StoredDataset, logits: NDArray[Any], masks: NDArray[np.uint8], **loss: Any) -> float:
    task = build_task(make_task_run(dataset, model="any", recipe={"loss": loss}), dataset, device=CPU)
    return float(task.compute_loss(torch.from_numpy(logits), torch.from_numpy(masks)))


def weigh(dataset: StoredDataset, weighting: dict[str, Any]) -> NDArray[np.float64]:
    """Count the pixels of the training masks: either way all of them weigh what they are."""
    masks = StreamedSamples(dataset.split("train"), CPU).take(np.arange(4)).targets.numpy()
    counts = np.array([(masks == label).sum() for label in range(3)])
    weights = 1 / counts if "classWeights" in weighting else np.ones(3)
    weights[2] = weighting.get("weightByClass", {}).get("stripe", weights[2])
    scaled: NDArray[np.float64] = weights * counts.sum() / (weights * counts).sum()
    return scaled


def log_shares(logits: NDArray[Any]) -> NDArray[np.float64]:
    exponentials = np.exp(logits.astype(np.float64))
    logs: NDArray[np.float64] = np.log(exponentials / exponentials.sum(axis=1, keepdims=True))
    return logs


def cross_entropy(logits: NDArray[Any], masks: NDArray[np.uint8], weights: Any, smoothing: float) -> float:
    """Pixels that are ignored have no loss, and are counted in the mean."""
    total = 0.0
    for image, mask in zip(log_shares(logits), masks, strict=True):
        for place in np.argwhere(mask != IGNORED_PIXEL):
            down, right = place
            shares = (1 - smoothing) * np.eye(3)[mask[down, right]] + smoothing / 3
            total -= (shares * weights * image[:, down, right]).sum() / mask.size
    return total


def dice(logits: NDArray[Any], masks: NDArray[np.uint8]) -> float:
    """Twice the common share over both, with one pixel more on either side; mean over the classes."""
    total = 0.0
    for shares, mask in zip(np.exp(log_shares(logits)), masks, strict=True):
        known = mask != IGNORED_PIXEL
        for label in range(3):
            truth = mask[known] == label
            said = shares[label][known]
            total += (1 - (2 * (said * truth).sum() + 1) / (said.sum() + truth.sum() + 1)) / 3
    return total


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_cross_entropy_is_smoothed_and_weighted_as_the_recipe_says(
    dataset: StoredDataset, smoothing: float, weighting: dict[str, Any]
) -> None:
    weights = weigh(dataset, weighting)
    loss = {"labelSmoothing": smoothing, **weighting}

    found = compute(dataset, LOGITS, MASKS, **loss)

    assert found == pytest.approx(cross_entropy(LOGITS, MASKS, weights, smoothing), rel=1e-5)
    both = compute(dataset, LOGITS, MASKS, name="diceCrossEntropy", **loss)
    assert both == pytest.approx(found + dice(LOGITS, MASKS), rel=1e-5)


@pytest.mark.parametrize("gamma", [0.0, 2.0, 3.5])
@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_focal_loss_is_cross_entropy_times_the_power_that_the_recipe_says(
    dataset: StoredDataset, gamma: float, weighting: dict[str, Any]
) -> None:
    weights = weigh(dataset, weighting)

    found = compute(dataset, LOGITS, MASKS, name="focal", focalGamma=gamma, **weighting)

    expected = 0.0
    for image, mask in zip(log_shares(LOGITS), MASKS, strict=True):
        for down, right in np.argwhere(mask != IGNORED_PIXEL):
            label = mask[down, right]
            log = image[label, down, right]
            expected -= weights[label] * (1 - np.exp(log)) ** gamma * log / mask.size
    assert found == pytest.approx(expected, rel=1e-5)


def test_focal_loss_has_a_gradient_when_a_pixel_is_certain(dataset: StoredDataset) -> None:
    loss = {"name": "focal", "focalGamma": 0.5}
    task = build_task(make_task_run(dataset, model="any", recipe={"loss": loss}), dataset, device=CPU)
    outputs = torch.tensor([40.0, 0.0, -40.0]).view(1, 3, 1, 1).requires_grad_()

    for label in range(3):
        task.compute_loss(outputs, torch.full((1, 1, 1), label, dtype=torch.uint8)).backward()  # type: ignore[no-untyped-call]

        assert outputs.grad is not None
        assert outputs.grad.isfinite().all()


def test_dice_loss_is_one_less_the_smoothed_coefficient(dataset: StoredDataset) -> None:
    assert compute(dataset, LOGITS, MASKS, name="dice") == pytest.approx(dice(LOGITS, MASKS), rel=1e-5)


def test_dice_loss_is_that_counted_by_hand_when_one_pixel_of_four_is_wrong(dataset: StoredDataset) -> None:
    masks = np.array([[[1, 0, 0, 0]]], np.uint8)
    certain = 40 * np.eye(3, dtype=np.float32)

    def say(*classes: int) -> NDArray[np.float32]:
        return certain[list(classes)].T[None, :, None]

    assert compute(dataset, say(1, 0, 0, 0), masks, name="dice") == pytest.approx(0, abs=1e-6)
    # Of the background 2 of 2 and 3 pixels are common, of class 1 one of 2 and 1; class 2 is neither said nor there.
    expected = 1 - ((2 * 2 + 1) / (2 + 3 + 1) + (2 * 1 + 1) / (2 + 1 + 1) + 1) / 3
    assert compute(dataset, say(1, 1, 0, 0), masks, name="dice") == pytest.approx(expected, abs=1e-6)


def test_an_auxiliary_head_adds_two_fifths_of_its_loss(dataset: StoredDataset) -> None:
    task = build_task(make_task_run(dataset, model="any", recipe={}), dataset, device=CPU)
    outputs, masks = torch.from_numpy(LOGITS), torch.from_numpy(MASKS)

    both = task.compute_loss((outputs, outputs), masks)

    assert float(both) == pytest.approx(1.4 * float(task.compute_loss(outputs, masks)))
