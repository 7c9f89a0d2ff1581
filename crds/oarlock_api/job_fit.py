"""Whether a job's model and recipe go with its data set: all of it once the data is there, before that what its task decides. Pure."""

from collections.abc import Iterator

from oarlock_api.findings import Finding
from oarlock_api.model_misfits import default_loss, find_model_misfits
from oarlock_api.run import RunDataset
from oarlock_api.tasks import TASKS, find_task_misfits, resolve_loss
from oarlock_api.v1alpha1.dataset import Task
from oarlock_api.v1alpha1.recipe import Recipe
from oarlock_api.v1alpha1.training_job import Model, TrainingJobSpec

_ANY_NUMBER = 1_000_000
"""Classes and samples of data that nobody has seen: enough for whatever is asked."""


def settle_loss(spec: TrainingJobSpec, recipe: Recipe, task: Task) -> Recipe:
    """Return the recipe with its loss named: by the user, by what the model is made for, or by the task."""
    return recipe.model_copy(update={"loss": resolve_loss(recipe.loss, task, preferred=default_loss(spec.model))})


def find_misfits(spec: TrainingJobSpec, recipe: Recipe, dataset: RunDataset) -> Iterator[Finding]:
    """Yield what the model and the recipe, with its loss named, ask for that the data set does not have."""
    yield from find_model_misfits(spec.model or Model(), recipe, dataset)
    named = {
        "spec.checkpoints.keepBest.metric": spec.checkpoints.keep_best,
        "spec.recipe.earlyStop.metric": recipe.early_stop,
    }
    ranked_by = {path: str(given.metric) for path, given in named.items() if given}
    yield from find_task_misfits(recipe, ranked_by=ranked_by, dataset=dataset)


def find_early_misfits(spec: TrainingJobSpec, *, dataset: str, task: Task) -> Iterator[Finding]:
    """Yield what cannot go with a task, whatever the data will be: shapes, classes and samples are not judged.

    Args:
        spec: a valid spec.
        dataset: name of the Dataset.
        task: its task.
    """
    if spec.model is None or task not in TASKS:
        return
    unseen = RunDataset(
        name=dataset,
        uid="",
        version="",
        claim="",
        path="",
        task=task,
        sample_shape=[],
        class_count=_ANY_NUMBER,
        train_samples=_ANY_NUMBER,
        validation_samples=_ANY_NUMBER,
    )
    yield from find_misfits(spec, settle_loss(spec, spec.recipe, task), unseen)
