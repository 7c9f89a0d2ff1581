"""What a recipe says is acted on or refused, and what an API server or nobody wrote is never refused."""

from typing import Any

import pytest

from oarlock_api.idle_fields import find_idle_fields
from oarlock_api.tasks import TASKS, resolve_loss
from oarlock_api.v1alpha1.dataset import Task
from oarlock_api.v1alpha1.recipe import Loss, LossName, Recipe

COLOR, GRAY, TEXT = [8, 8, 3], [8, 8, 1], [80]
CLASSES, PIXELS, BOXES, WORDS = (
    Task.IMAGE_CLASSIFICATION,
    Task.SEGMENTATION,
    Task.OBJECT_DETECTION,
    Task.TEXT_CLASSIFICATION,
)
WHITE = {"whitening": True}


def find(task: Task, shape: list[int], recipe: dict[str, Any]) -> list[str]:
    given = Recipe.from_wire(recipe)
    resolved = given.model_copy(update={"loss": resolve_loss(given.loss, task)})
    return [str(found) for found in find_idle_fields(resolved, task=task, sample_shape=shape)]


@pytest.mark.parametrize(
    ("task", "shape", "recipe", "begins"),
    [
        (BOXES, COLOR, {"loss": {"classWeights": "balanced"}}, "loss.classWeights must be none for objectDetection"),
        (
            BOXES,
            COLOR,
            {"loss": {"weightByClass": {"a": 2}}},
            "loss.weightByClass must be left out for objectDetection, got a",
        ),
        (
            CLASSES,
            COLOR,
            {"loss": {"name": "contrastive", "weightByClass": {"b": 2, "a": 1}}},
            "loss.weightByClass must be left out for the loss contrastive, got a, b",
        ),
        (
            CLASSES,
            COLOR,
            {"loss": {"focalGamma": 5}},
            "loss.focalGamma must be left out for the loss crossEntropy, got 5",
        ),
        (
            PIXELS,
            COLOR,
            {"loss": {"name": "dice", "focalGamma": 0}},
            "loss.focalGamma must be left out for the loss dice",
        ),
        (CLASSES, COLOR, {"loss": {"margin": 7}}, "loss.margin must be left out for the loss crossEntropy, got 7"),
        (WORDS, TEXT, {"meanSubtraction": "image"}, "meanSubtraction must be left out for textClassification"),
        (
            CLASSES,
            COLOR,
            {"meanSubtraction": "image", "augment": WHITE},
            "meanSubtraction must be left out beside augment.whitening",
        ),
        (CLASSES, GRAY, {"augment": {"color": {}}}, "augment.color must be left out for images that are not in colour"),
        (PIXELS, [8, 8, 4], {"augment": {"color": {"hue": 0.1}}}, "augment.color must be left out for images that are"),
    ],
)
def test_a_field_is_refused_when_nothing_would_act_on_it(
    task: Task, shape: list[int], recipe: dict[str, Any], begins: str
) -> None:
    (finding,) = find(task, shape, recipe)

    assert finding.startswith(f"spec.recipe.{begins}")
    assert ": leave it out" in finding or ": keep the one you mean" in finding


@pytest.mark.parametrize(
    ("task", "shape", "recipe"),
    [
        (BOXES, COLOR, {"loss": {"focalGamma": 3}}),
        (CLASSES, COLOR, {"loss": {"name": "focal", "focalGamma": 3, "classWeights": "balanced"}}),
        (CLASSES, COLOR, {"loss": {"name": "contrastive", "margin": 3}}),
        (PIXELS, COLOR, {"loss": {"name": "diceCrossEntropy", "weightByClass": {"a": 2}}}),
        (CLASSES, COLOR, {"meanSubtraction": "image", "augment": {"color": {}}}),
        (CLASSES, COLOR, {"meanSubtraction": "none", "augment": WHITE}),
        (WORDS, TEXT, {"meanSubtraction": "none"}),
        (CLASSES, GRAY, {"augment": {"color": {"hue": 0, "saturation": 0, "value": 0}}}),
        (CLASSES, [], {"augment": {"color": {}}}),
    ],
)
def test_a_field_is_taken_when_it_changes_something_or_claims_nothing(
    task: Task, shape: list[int], recipe: dict[str, Any]
) -> None:
    assert find(task, shape, recipe) == []


@pytest.mark.parametrize(("task", "loss"), [(task, loss) for task, facts in TASKS.items() for loss in facts.losses])
@pytest.mark.parametrize("whitening", [False, True])
def test_nothing_is_refused_when_every_default_is_written_out(task: Task, loss: LossName, *, whitening: bool) -> None:
    """As it is in an object that an API server stored."""
    written = Recipe(loss=Loss(name=loss)).to_wire()
    written["augment"]["whitening"] = whitening

    assert find(task, TEXT if task is WORDS else GRAY, written) == []
