"""The losses of boxes, images and pairs, counted by hand: every term of them, with the weight that its authors give it."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from training.made_datasets import make_task_run, write_task_dataset

from oarlock_api.v1alpha1.dataset import Task as TaskName
from oarlock_trainer.datasets import StoredDataset
from oarlock_trainer.tasks import Task, build_task

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def datasets(tmp_path_factory: pytest.TempPathFactory) -> dict[TaskName, StoredDataset]:
    kinds = (TaskName.OBJECT_DETECTION, TaskName.IMAGE_TO_IMAGE, TaskName.IMAGE_CLASSIFICATION)
    folder = tmp_path_factory.mktemp("tasks")
    return {kind: write_task_dataset(folder / kind.value, kind, train=6, validation=3) for kind in kinds}


def make_task(datasets: dict[TaskName, StoredDataset], kind: TaskName, **loss: Any) -> Task:
    recipe = {"loss": loss} if loss else {}
    return build_task(make_task_run(datasets[kind], model="any", recipe=recipe), datasets[kind], device=CPU)


def make_boxes() -> Tensor:
    """Return two small boxes of an image of 8 by 8 cells, and room for a third: their centres lie amid cells."""
    first = [0, 2.5 / 8, 1.5 / 8, 1 / 8, 1 / 8]
    second = [1, 5.25 / 8, 6.5 / 8, 1 / 8, 2 / 8]
    return torch.tensor([[first, second, [-1.0] * 5]])


def make_maps() -> Tensor:
    """Return outputs that are certain of the boxes and have their sizes and places."""
    maps = torch.full((1, 6, 8, 8), -20.0)
    maps[:, 2:] = 0
    maps[0, 0, 1, 2] = maps[0, 1, 6, 5] = 20.0
    maps[0, 2:, 1, 2] = torch.tensor([1.0, 1.0, 0.5, 0.5])
    maps[0, 2:, 6, 5] = torch.tensor([1.0, 2.0, 0.25, 0.5])
    return maps


@pytest.mark.parametrize(
    ("channel", "off", "adds"),
    [(2, 3.0, 0.1 * 3), (3, -2.0, 0.1 * 2), (4, 0.25, 0.25), (5, -0.5, 0.5)],
    ids=["width", "height", "right", "down"],
)
def test_a_box_costs_what_its_size_and_place_are_off(
    datasets: dict[TaskName, StoredDataset], channel: int, off: float, adds: float
) -> None:
    task, boxes = make_task(datasets, TaskName.OBJECT_DETECTION), make_boxes()
    maps = make_maps()
    right = float(task.compute_loss(maps, boxes))
    maps[0, channel, 1, 2] += off
    maps[0, channel, 4, 4] += 7.0  # no box has its centre there

    assert right == pytest.approx(0, abs=1e-4)
    assert float(task.compute_loss(maps, boxes)) - right == pytest.approx(adds / 2, abs=1e-5)  # of two boxes


def test_a_heat_map_costs_what_it_misses_and_what_it_makes_up(datasets: dict[TaskName, StoredDataset]) -> None:
    """With half a probability: a quarter of log 2 each (Lin et al. 2017 with exponent 2)."""
    task, boxes = make_task(datasets, TaskName.OBJECT_DETECTION), make_boxes()
    missed, made_up = make_maps(), make_maps()
    missed[0, 0, 1, 2] = 0.0
    made_up[0, 0, 6, 6] = 0.0

    for maps in (missed, made_up):
        assert float(task.compute_loss(maps, boxes)) == pytest.approx(0.25 * math.log(2) / 2, abs=1e-4)


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        ({}, (0.25 + 0.01) / 2),
        ({"name": "mse"}, (0.25 + 0.01) / 2),
        ({"name": "l1"}, (0.5 + 0.1) / 2),
        ({"name": "binaryCrossEntropy"}, None),
    ],
    ids=["by default", "mse", "l1", "binaryCrossEntropy"],
)
def test_an_image_costs_the_mean_over_its_pixels(
    datasets: dict[TaskName, StoredDataset], loss: dict[str, str], expected: float | None
) -> None:
    task = make_task(datasets, TaskName.IMAGE_TO_IMAGE, **loss)
    targets = torch.full((2, 1, 4, 4), 0.3)
    outputs = torch.stack((torch.full((4, 4), 0.8), torch.full((4, 4), 0.2)))[:, None]
    outputs[1, 0, :, 2:] = 0.3
    outputs[0, 0, :2] = 0.3
    if expected is None:
        costs = {
            x: -0.3 * math.log(1 / (1 + math.exp(-x))) - 0.7 * math.log(1 / (1 + math.exp(x))) for x in (0.8, 0.2, 0.3)
        }
        expected = (costs[0.8] + costs[0.2]) / 2 + costs[0.3]

    assert float(task.compute_loss(outputs, targets)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("margin", [1.0, 2.5])
def test_pairs_of_two_classes_cost_what_they_lack_of_the_margin(
    datasets: dict[TaskName, StoredDataset], margin: float
) -> None:
    task = make_task(datasets, TaskName.IMAGE_CLASSIFICATION, name="contrastive", margin=margin)
    distances = torch.tensor([0.3, 0.3, 4.0, 4.0, 0.9 * margin])
    first = torch.randn(5, 16, generator=torch.Generator().manual_seed(0))
    direction = torch.zeros(16).index_fill(0, torch.tensor([0, 1]), 0.5**0.5)
    outputs = torch.cat((first, first + distances[:, None] * direction))
    of_one_class = torch.tensor([1.0, 0.0, 1.0, 0.0, 0.0])

    losses = task.sample_losses(outputs, of_one_class)

    expected = [0.09, (margin - 0.3) ** 2, 16.0, 0.0, (0.1 * margin) ** 2]
    assert losses.tolist() == pytest.approx(expected, rel=1e-3, abs=1e-5)
    assert float(task.compute_loss(outputs, of_one_class)) == pytest.approx(sum(expected), rel=1e-3)
    # What is less than half of the margin apart is said to be of one class, which is wrong of the second and of the third.
    figures = task.measure_training(torch.tensor(0.0), outputs, of_one_class)
    assert figures[1] == 3
