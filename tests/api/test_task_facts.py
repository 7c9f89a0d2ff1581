"""What a task knows, and that a recipe asks for nothing else."""

from typing import Any

import pytest

from oarlock_api.metrics import METRICS_BY_NAME, find_figure, show_metric
from oarlock_api.run import RunDataset
from oarlock_api.tasks import TASKS, find_task_misfits, resolve_loss
from oarlock_api.v1alpha1.dataset import Task
from oarlock_api.v1alpha1.recipe import Loss, LossName, Recipe


def dataset(task: Task, shape: list[int]) -> RunDataset:
    facts = {"uid": "u", "version": "v", "claim": "c", "path": "p", "train_samples": 10, "validation_samples": 5}
    return RunDataset(name="d", task=task, sample_shape=shape, class_count=3, **facts)


def find(task: Task, recipe: dict[str, Any], shape: list[int], metric: str = "") -> list[str]:
    given = Recipe.from_wire(recipe)
    resolved = given.model_copy(update={"loss": resolve_loss(given.loss, task)})
    ranked_by = {"spec.checkpoints.keepBest.metric": metric} if metric else {}
    return [str(found) for found in find_task_misfits(resolved, ranked_by=ranked_by, dataset=dataset(task, shape))]


@pytest.mark.parametrize(
    ("classes", "recipe", "refused"),
    [(5, {}, True), (6, {}, False), (100, {"loss": {"name": "contrastive"}}, True), (100, {}, False)],
)
@pytest.mark.parametrize("path", ["spec.checkpoints.keepBest.metric", "spec.recipe.earlyStop.metric"])
def test_top_five_accuracy_ranks_only_where_it_is_measured(
    classes: int, recipe: dict[str, Any], path: str, *, refused: bool
) -> None:
    task = Task.IMAGE_CLASSIFICATION
    given = Recipe.from_wire(recipe)
    resolved = given.model_copy(update={"loss": resolve_loss(given.loss, task)})
    data = dataset(task, [8, 8, 1]).model_copy(update={"class_count": classes})
    found = list(find_task_misfits(resolved, ranked_by={path: "validation/topFiveAccuracy"}, dataset=data))

    assert [each.path for each in found] == [path] * refused


@pytest.mark.parametrize("task", TASKS)
def test_every_figure_of_a_task_is_in_the_table_and_ranks_its_checkpoints(task: Task) -> None:
    facts = TASKS[task]

    assert {f"validation/{name}" for name in facts.metrics} <= METRICS_BY_NAME.keys()
    assert find(task, {}, [16, 16, 3] if task is not Task.TEXT_CLASSIFICATION else [80], facts.best_by) == []


def test_the_loss_is_that_of_the_task_when_a_recipe_names_none() -> None:
    assert resolve_loss(None, Task.IMAGE_TO_IMAGE).name is LossName.MSE
    assert resolve_loss(Loss(label_smoothing=0.1), Task.SEGMENTATION).name is LossName.CROSS_ENTROPY
    assert resolve_loss(Loss(name=LossName.DICE), Task.SEGMENTATION).name is LossName.DICE


@pytest.mark.parametrize(
    ("task", "recipe", "shape", "found"),
    [
        (Task.IMAGE_CLASSIFICATION, {"loss": {"name": "dice"}}, [8, 8, 1], "must be a loss for imageClassification"),
        (Task.SEGMENTATION, {"augment": {"mixup": 0.2}}, [8, 8, 1], "must be left out for segmentation"),
        (Task.OBJECT_DETECTION, {"augment": {"rotation": 5}}, [8, 8, 1], "augment.rotation must be left out"),
        (Task.TEXT_CLASSIFICATION, {"augment": {"shift": 1}}, [80], "augment.shift must be left out"),
        (
            Task.IMAGE_CLASSIFICATION,
            {"augment": {"crop": 9}},
            [8, 16, 1],
            "must fit into the images of Dataset d, 16x8",
        ),
        (Task.IMAGE_CLASSIFICATION, {"augment": {"quadRotation": "all"}}, [8, 16, 1], "not square"),
        (
            Task.IMAGE_CLASSIFICATION,
            {"loss": {"name": "contrastive"}, "augment": {"cutmix": 1}},
            [8, 8, 1],
            "must not mix images",
        ),
        (
            Task.IMAGE_TO_IMAGE,
            {"loss": {"name": "l1", "classWeights": "balanced"}},
            [8, 8, 1],
            "must be none for the loss l1",
        ),
        (
            Task.IMAGE_CLASSIFICATION,
            {"loss": {"name": "focal", "labelSmoothing": 0.1}},
            [8, 8, 1],
            "must be 0 for the loss focal",
        ),
    ],
)
def test_a_recipe_is_refused_when_its_task_lacks_what_it_asks_for(
    task: Task, recipe: dict[str, Any], shape: list[int], found: str
) -> None:
    findings = find(task, recipe, shape)

    assert len(findings) == 1
    assert found in findings[0]


def test_a_metric_is_refused_when_the_task_does_not_measure_it() -> None:
    (finding,) = find(Task.SEGMENTATION, {}, [8, 8, 1], "validation/accuracy")

    assert "use validation/dice, validation/loss, validation/iou, validation/pixelAccuracy" in finding


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("validation/dice", 0.95123, "dice 95.12 %"),
        ("validation/peakSignalToNoise", 31.2345, "peakSignalToNoise 31.23 dB"),
        ("validation/loss", 0.012345, "loss 0.01235"),
        ("own", 3.0, "own 3"),
    ],
)
def test_a_metric_is_shown_in_its_unit(name: str, value: float, shown: str) -> None:
    assert show_metric(name, value) == shown


def test_a_split_is_judged_by_its_figure_that_is_not_the_loss() -> None:
    assert find_figure("validation", {"validation/loss": 1.0, "validation/dice": 0.5}) == "validation/dice"
    assert find_figure("train", {"train/loss": 1.0}) == ""
