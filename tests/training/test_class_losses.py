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
from oarlock_trainer.errors import ConfigError
from oarlock_trainer.losses import ClassLoss
from oarlock_trainer.tasks import build_task

CPU = torch.device("cpu")
COUNTS = [6, 3, 1]
NAMES = ["a", "b", "c"]
BALANCED = np.array([10 / 18, 10 / 9, 10 / 3])
"""All samples, over the number of classes and the samples of each."""
BY_NAME = np.array([1, 1, 4]) * 10 / 13
"""A class that is not named weighs 1; all as large that the ten samples weigh ten."""
WEIGHTINGS: list[tuple[dict[str, Any], NDArray[Any]]] = [
    ({}, np.ones(3)),
    ({"class_weights": ClassWeights.BALANCED}, BALANCED),
    ({"weight_by_class": {"c": 4}}, BY_NAME),
]
CLASSES = np.array([0, 2, 1, 0, 1])
LOGITS = np.random.default_rng(3).normal(0, 1.5, (5, 3)).astype(np.float32)


def log_softmax(logits: NDArray[Any]) -> NDArray[np.float64]:
    exponentials = np.exp(logits.astype(np.float64))
    logs: NDArray[np.float64] = np.log(exponentials / exponentials.sum(axis=1, keepdims=True))
    return logs


def add_up(**loss: Any) -> float:
    computed = ClassLoss(Loss(**loss), classes=NAMES, class_counts=COUNTS, device=CPU)
    return float(computed.add_up(torch.from_numpy(LOGITS), torch.from_numpy(CLASSES)))


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize(("weighting", "weights"), WEIGHTINGS)
def test_cross_entropy_is_that_of_smoothed_and_weighted_shares(
    smoothing: float, weighting: dict[str, Any], weights: NDArray[Any]
) -> None:
    found = add_up(label_smoothing=smoothing, **weighting)

    shares = (1 - smoothing) * np.eye(3)[CLASSES] + smoothing / 3
    assert found == pytest.approx(-(shares * weights * log_softmax(LOGITS)).sum(), rel=1e-5)


@pytest.mark.parametrize("gamma", [0.0, 1.0, 2.0, 3.5])
@pytest.mark.parametrize(("weighting", "weights"), WEIGHTINGS)
def test_focal_loss_is_cross_entropy_times_the_power_that_the_recipe_says(
    gamma: float, weighting: dict[str, Any], weights: NDArray[Any]
) -> None:
    found = add_up(name=LossName.FOCAL, focal_gamma=gamma, **weighting)

    logs = log_softmax(LOGITS)[np.arange(5), CLASSES]
    assert found == pytest.approx((-weights[CLASSES] * (1 - np.exp(logs)) ** gamma * logs).sum(), rel=1e-5)


def test_focal_loss_has_a_gradient_when_the_model_is_certain() -> None:
    """Below an exponent of 1 the power rises without end towards a probability of 1, which rounding reaches."""
    loss = ClassLoss(Loss(name=LossName.FOCAL, focal_gamma=0.5), classes=NAMES, class_counts=COUNTS, device=CPU)
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
    write_dataset(folder, classes=NAMES, splits=splits, task=request.param, tokenizer=tokenizer)
    return open_dataset(folder)


@pytest.mark.parametrize(
    ("loss", "weights"), [({"classWeights": "balanced"}, BALANCED), ({"weightByClass": {"c": 4}}, BY_NAME)]
)
def test_a_step_is_a_weighted_mean_when_classes_weigh_differently(
    dataset: StoredDataset, loss: dict[str, Any], weights: NDArray[Any]
) -> None:
    """What the trainer divides by is what torch divides by, however the batch is divided among processes."""
    task = build_task(make_task_run(dataset, model="any", recipe={"loss": loss}), dataset, device=CPU)
    ids, labels, outputs = np.array([9, 0, 7, 1, 8]), torch.tensor([2, 0, 1, 0, 1]), torch.from_numpy(LOGITS)

    parts = (task.compute_loss(outputs[part], labels[part]) for part in (slice(0, 1), slice(1, 5)))
    mean = sum(map(float, parts)) / task.weigh(ids, 0)

    expected = functional.cross_entropy(outputs, labels, weight=torch.from_numpy(weights).float())
    assert mean == pytest.approx(float(expected), rel=1e-5)
    assert task.weigh(ids, 0) == pytest.approx(weights[labels].sum(), rel=1e-5)


def test_a_weight_is_refused_when_no_class_has_its_name(dataset: StoredDataset) -> None:
    run = make_task_run(dataset, model="any", recipe={"loss": {"weightByClass": {"aa": 2, "c": 3}}})

    with pytest.raises(
        ConfigError, match=r"recipe.loss.weightByClass.aa must .* a class of the data set.*nearest are a"
    ):
        build_task(run, dataset, device=CPU)


def test_every_sample_weighs_one_when_classes_are_not_weighted(dataset: StoredDataset) -> None:
    task = build_task(make_task_run(dataset, model="any", recipe={}), dataset, device=CPU)

    assert task.weigh(np.array([0, 9, 9]), 0) == 3
