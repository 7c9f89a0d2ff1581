"""The losses of predicted classes are those of their formulas, written out in numpy; weights divide as they multiply."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn import functional
from training.made_datasets import make_task_run

from oarlock_api.v1alpha1.dataset import Task as TaskName
from oarlock_api.v1alpha1.dataset import Tokens
from oarlock_api.v1alpha1.recipe import ClassWeights, Loss, LossName
from oarlock_trainer.datasets import StoredDataset, open_dataset, write_dataset
from oarlock_trainer.datasets.tokens import Tokenizer
from oarlock_trainer.losses import ClassLoss
from oarlock_trainer.tasks import build_task

CPU = torch.device("cpu")
COUNTS = [6, 3, 1]
WEIGHTS = np.array([10 / 18, 10 / 9, 10 / 3])
"""All samples, over the number of classes and the samples of each."""
CLASSES = np.array([0, 2, 1, 0, 1])
LOGITS = np.random.default_rng(3).normal(0, 1.5, (5, 3)).astype(np.float32)


def log_softmax(logits: NDArray[Any]) -> NDArray[np.float64]:
    exponentials = np.exp(logits.astype(np.float64))
    logs: NDArray[np.float64] = np.log(exponentials / exponentials.sum(axis=1, keepdims=True))
    return logs


def add_up(**loss: Any) -> float:
    computed = ClassLoss(Loss(**loss), class_counts=COUNTS, device=CPU)
    return float(computed.add_up(torch.from_numpy(LOGITS), torch.from_numpy(CLASSES)))


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize("balance", ClassWeights)
def test_cross_entropy_is_that_of_smoothed_and_weighted_shares(smoothing: float, balance: ClassWeights) -> None:
    weights = WEIGHTS if balance is ClassWeights.BALANCED else np.ones(3)

    found = add_up(label_smoothing=smoothing, class_weights=balance)

    shares = (1 - smoothing) * np.eye(3)[CLASSES] + smoothing / 3
    assert found == pytest.approx(-(shares * weights * log_softmax(LOGITS)).sum(), rel=1e-5)


@pytest.mark.parametrize("gamma", [0.0, 1.0, 2.0, 3.5])
@pytest.mark.parametrize("balance", ClassWeights)
def test_focal_loss_is_cross_entropy_times_the_power_that_the_recipe_says(gamma: float, balance: ClassWeights) -> None:
    weights = WEIGHTS if balance is ClassWeights.BALANCED else np.ones(3)

    found = add_up(name=LossName.FOCAL, focal_gamma=gamma, class_weights=balance)

    logs = log_softmax(LOGITS)[np.arange(5), CLASSES]
    assert found == pytest.approx((-weights[CLASSES] * (1 - np.exp(logs)) ** gamma * logs).sum(), rel=1e-5)


def test_focal_loss_has_a_gradient_when_the_model_is_certain() -> None:
    """Below an exponent of 1 the power rises without end towards a probability of 1, which rounding reaches."""
    loss = ClassLoss(Loss(name=LossName.FOCAL, focal_gamma=0.5), class_counts=COUNTS, device=CPU)
    outputs = torch.tensor([[40.0, 0.0, 0.0]] * 3, requires_grad=True)

    loss.add_up(outputs, torch.arange(3)).backward()  # type: ignore[no-untyped-call]

    assert outputs.grad is not None
    assert outputs.grad[0].tolist() == pytest.approx([0, 0, 0], abs=1e-6)
    assert outputs.grad[1].tolist() == pytest.approx([1, -1, 0], abs=1e-6)


def test_binary_cross_entropy_is_the_mean_over_the_classes_of_each_against_all_others() -> None:
    shares = 1 / (1 + np.exp(-LOGITS.astype(np.float64)))
    right = np.where(np.eye(3)[CLASSES] == 1, shares, 1 - shares)

    assert add_up(name=LossName.BINARY_CROSS_ENTROPY) == pytest.approx(-np.log(right).mean(axis=1).sum(), rel=1e-5)


@pytest.fixture(scope="module", params=[TaskName.IMAGE_CLASSIFICATION, TaskName.TEXT_CLASSIFICATION])
def dataset(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> StoredDataset:
    """Ten samples of which six are of class 0, three of class 1 and one of class 2, in this order."""
    folder, labels = tmp_path_factory.mktemp("uneven"), np.repeat(np.arange(3), COUNTS)
    is_text = request.param is TaskName.TEXT_CLASSIFICATION
    samples = np.zeros((10, 8), np.uint16) if is_text else np.arange(10 * 64).reshape(10, 8, 8, 1).astype(np.uint8)
    tokenizer = Tokenizer(tokens=Tokens.CHARACTERS, length=8, words=[]) if is_text else None
    splits = {"train": (samples, labels)}
    write_dataset(folder, classes=["a", "b", "c"], splits=splits, task=request.param, tokenizer=tokenizer)
    return open_dataset(folder)


def test_a_step_is_a_weighted_mean_when_classes_are_balanced(dataset: StoredDataset) -> None:
    """What the trainer divides by is what torch divides by."""
    recipe = {"loss": {"classWeights": "balanced"}}
    task = build_task(make_task_run(dataset, model="any", recipe=recipe), dataset, device=CPU)
    ids = np.array([9, 0, 7, 1, 8])
    labels = torch.tensor([2, 0, 1, 0, 1])

    mean = task.compute_loss(torch.from_numpy(LOGITS), labels) / task.weigh(ids, 0)

    expected = functional.cross_entropy(torch.from_numpy(LOGITS), labels, weight=torch.from_numpy(WEIGHTS).float())
    assert float(mean) == pytest.approx(float(expected), rel=1e-5)
    assert task.weigh(ids, 0) == pytest.approx(WEIGHTS[labels].sum(), rel=1e-5)


def test_every_sample_weighs_one_when_classes_are_not_balanced(dataset: StoredDataset) -> None:
    task = build_task(make_task_run(dataset, model="any", recipe={}), dataset, device=CPU)

    assert task.weigh(np.array([0, 9, 9]), 0) == 3
