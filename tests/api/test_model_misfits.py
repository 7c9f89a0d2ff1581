"""Models that do not fit their data are refused before anything starts."""

import pytest

from oarlock_api.model_misfits import default_loss, find_model_misfits
from oarlock_api.run import RunDataset
from oarlock_api.v1alpha1.dataset import Task
from oarlock_api.v1alpha1.recipe import Loss, LossName, Recipe
from oarlock_api.v1alpha1.training_job import LibraryModel, Model
from oarlock_api.zoo import BUILT_IN_MODELS, models_for


def findings(model: Model, *, task: Task, shape: list[int], loss: LossName | None = None) -> list[str]:
    dataset = RunDataset.model_construct(name="digits", task=task, sample_shape=shape)
    return [str(each) for each in find_model_misfits(model, Recipe(loss=Loss(name=loss)), dataset)]


@pytest.mark.parametrize(
    ("name", "task", "shape", "says"),
    [
        (
            "unet",
            Task.IMAGE_CLASSIFICATION,
            [64, 64, 1],
            "for imageClassification.*got unet, which is for imageToImage",
        ),
        ("lenet", Task.TEXT_CLASSIFICATION, [80], "use textcnn, lstm, gru, transformer"),
        ("textcnn", Task.SEGMENTATION, [64, 64, 1], "use unet, unet-small, fcn$"),
        (
            "vgg16",
            Task.IMAGE_CLASSIFICATION,
            [64, 28, 3],
            "28x64 pixels, got vgg16, which needs 32x32.*use lenet, mlp, ",
        ),
        ("lenet", Task.IMAGE_CLASSIFICATION, [2, 2, 3], "use mlp, or import"),
        ("centernet", Task.OBJECT_DETECTION, [31, 64, 3], ": import the images larger"),
        ("lenet", Task.TABULAR, [4], "a model of your own"),
    ],
)
def test_the_models_that_fit_are_named_when_one_does_not(name: str, task: Task, shape: list[int], says: str) -> None:
    import re

    (finding,) = findings(Model(name=name), task=task, shape=shape)

    assert re.search(says, finding), finding


def test_a_siamese_model_takes_the_contrastive_loss_and_no_other() -> None:
    siamese, shape = Model(name="siamese"), [28, 28, 1]

    assert default_loss(siamese) is LossName.CONTRASTIVE
    assert findings(siamese, task=Task.IMAGE_CLASSIFICATION, shape=shape, loss=LossName.CONTRASTIVE) == []
    (finding,) = findings(siamese, task=Task.IMAGE_CLASSIFICATION, shape=shape, loss=LossName.FOCAL)
    assert finding.startswith("spec.recipe.loss.name must be contrastive for the model siamese, got focal")
    assert default_loss(Model(name="lenet")) is None


def test_dropout_is_refused_when_the_model_has_none() -> None:
    dataset = RunDataset.model_construct(name="digits", task=Task.IMAGE_CLASSIFICATION, sample_shape=[64, 64, 1])

    (finding,) = find_model_misfits(Model(name="lenet"), Recipe(dropout=0.2), dataset)

    assert "spec.recipe.dropout must be left out for lenet, which has no dropout, got 0.2" in str(finding)
    assert "use mlp, alexnet, " in str(finding)
    assert list(find_model_misfits(Model(name="mlp"), Recipe(dropout=0.2), dataset)) == []


def test_models_that_only_the_trainer_knows_are_left_to_it() -> None:
    assert findings(Model(timm=LibraryModel(name="x")), task=Task.SEGMENTATION, shape=[1, 1, 1]) == []


def test_every_task_that_is_trained_has_a_model_and_every_model_a_task() -> None:
    from oarlock_api.tasks import TASKS

    assert all(models_for(task) for task in TASKS)
    assert all(model.tasks <= set(TASKS) for model in BUILT_IN_MODELS.values())
