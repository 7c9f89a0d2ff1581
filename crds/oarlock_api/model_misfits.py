"""Why a built-in model does not fit a data set or a loss: said before anything starts. Pure.

Models of libraries and of users are only known where they are installed: the trainer tries them on the form of a sample before it
takes a device.
"""

from collections.abc import Iterator

from oarlock_api.findings import Finding
from oarlock_api.run import RunDataset
from oarlock_api.v1alpha1.dataset import Task
from oarlock_api.v1alpha1.recipe import LossName, Recipe
from oarlock_api.v1alpha1.training_job import Model
from oarlock_api.zoo import BUILT_IN_MODELS, BuiltInModel, models_for


def default_loss(model: Model | None) -> LossName | None:
    """Return the loss that a model is made for; None if it takes that of its task."""
    built_in = BUILT_IN_MODELS.get(model.name) if model and model.name else None
    return min(built_in.losses, default=None) if built_in else None


def find_model_misfits(model: Model, recipe: Recipe, dataset: RunDataset) -> Iterator[Finding]:
    """Yield what keeps the model from this data set, one finding, since the first explains the others; and what it would not heed."""
    if not model.name:
        return
    built_in = BUILT_IN_MODELS[model.name]
    finding = _find_other_task(built_in, dataset) or _find_small_images(built_in, dataset)
    if finding is None and recipe.loss:
        finding = _find_other_loss(built_in, recipe.loss.name)
    if finding:
        yield finding
    if recipe.dropout is not None and not built_in.drops:
        yield _refuse_dropout(built_in, recipe.dropout)


def _refuse_dropout(built_in: BuiltInModel, share: float) -> Finding:
    having = ", ".join(name for name, model in BUILT_IN_MODELS.items() if model.drops and model.tasks & built_in.tasks)
    return Finding(
        path="spec.recipe.dropout",
        rule=f"must be left out for {built_in.name}, which has no dropout",
        found=f"{share:g}",
        remedy=f"leave it out, or use {having}" if having else "leave it out",
    )


def _find_other_task(built_in: BuiltInModel, dataset: RunDataset) -> Finding | None:
    if dataset.task in built_in.tasks:
        return None
    return Finding(
        path="spec.model.name",
        rule=f"must be a model for {dataset.task}, which Dataset {dataset.name} is for",
        found=f"{built_in.name}, which is for {' and '.join(sorted(built_in.tasks))}",
        remedy=f"use {_list_models(dataset.task)}",
    )


def _find_small_images(built_in: BuiltInModel, dataset: RunDataset) -> Finding | None:
    shape = dataset.sample_shape
    if built_in.reads_text or len(shape) < 2 or min(shape[:2]) >= built_in.min_side:  # noqa: PLR2004  # height, width
        return None
    height, width = shape[:2]
    fitting = [name for name in models_for(dataset.task) if BUILT_IN_MODELS[name].min_side <= min(height, width)]
    use = f"use {', '.join(fitting)}, or import" if fitting else "import"
    return Finding(
        path="spec.model.name",
        rule=f"must fit the images of Dataset {dataset.name}, {width}x{height} pixels",
        found=f"{built_in.name}, which needs {built_in.min_side}x{built_in.min_side} or more",
        remedy=f"{use} the images larger (spec.image of the Dataset)",
    )


def _find_other_loss(built_in: BuiltInModel, loss: LossName | None) -> Finding | None:
    if not built_in.losses or loss in built_in.losses:
        return None
    return Finding(
        path="spec.recipe.loss.name",
        rule=f"must be {' or '.join(sorted(built_in.losses))} for the model {built_in.name}",
        found=str(loss),
        remedy="leave it out, or choose another model",
    )


def _list_models(task: Task) -> str:
    return ", ".join(models_for(task)) or "a model of your own: no built-in one does this"
