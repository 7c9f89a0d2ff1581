"""What each task allows and how it is judged: known to the operator, which never imports torch. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass

from oarlock_api.findings import Finding
from oarlock_api.idle_fields import find_idle_fields
from oarlock_api.run import RunDataset
from oarlock_api.v1alpha1.dataset import Task
from oarlock_api.v1alpha1.recipe import Augment, Loss, LossName, QuadRotation, RankableMetric, Recipe

_MIXING = frozenset({"mixup", "cutmix"})
_TOP = 5
"""Classes of topFiveAccuracy, which is measured only if there are more."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskFacts:
    """One kind of learning."""

    losses: tuple[LossName, ...]
    """Losses that it knows; the first is taken if the recipe names none."""
    metrics: tuple[str, ...]
    """What a validation measures, by the names after `validation/`; the first ranks the checkpoints if the job names none."""
    no_augment: frozenset[str] = frozenset()
    """Fields of `recipe.augment` that it cannot have, as manifests write them."""

    @property
    def best_by(self) -> RankableMetric:
        return RankableMetric(f"validation/{self.metrics[0]}")


_CLASSIFICATION = TaskFacts(
    losses=(LossName.CROSS_ENTROPY, LossName.BINARY_CROSS_ENTROPY, LossName.FOCAL),
    metrics=("accuracy", "loss", "topFiveAccuracy"),
)

TASKS: dict[Task, TaskFacts] = {
    Task.IMAGE_CLASSIFICATION: TaskFacts(
        losses=(*_CLASSIFICATION.losses, LossName.CONTRASTIVE), metrics=_CLASSIFICATION.metrics
    ),
    Task.SEGMENTATION: TaskFacts(
        losses=(LossName.CROSS_ENTROPY, LossName.DICE, LossName.DICE_CROSS_ENTROPY, LossName.FOCAL),
        metrics=("dice", "loss", "iou", "pixelAccuracy"),
        no_augment=_MIXING | {"randAugment"},
    ),
    Task.OBJECT_DETECTION: TaskFacts(
        losses=(LossName.FOCAL,), metrics=("map50", "loss"), no_augment=_MIXING | {"rotation", "randAugment"}
    ),
    Task.IMAGE_TO_IMAGE: TaskFacts(
        losses=(LossName.MSE, LossName.L1, LossName.BINARY_CROSS_ENTROPY),
        metrics=("loss", "meanAbsoluteError", "peakSignalToNoise"),
        no_augment=_MIXING | {"randAugment"},
    ),
    Task.TEXT_CLASSIFICATION: TaskFacts(
        losses=_CLASSIFICATION.losses,
        metrics=_CLASSIFICATION.metrics,
        no_augment=frozenset(field.alias or name for name, field in Augment.model_fields.items()),
    ),
}
"""Tasks that are not here are not supported yet."""


def resolve_loss(loss: Loss | None, task: Task, *, preferred: LossName | None = None) -> Loss:
    """Return the loss with its name: if the recipe leaves it open, the one that the model prefers, or that of the task."""
    given = loss or Loss()
    return given if given.name else given.model_copy(update={"name": preferred or TASKS[task].losses[0]})


def find_task_misfits(recipe: Recipe, *, ranked_by: dict[str, str], dataset: RunDataset) -> Iterator[Finding]:
    """Yield what the recipe asks for that the data set's task does not have.

    Args:
        recipe: the recipe, resolved.
        ranked_by: metrics that the job names, by the path of the field.
        dataset: the data.
    """
    facts, loss = TASKS[dataset.task], recipe.loss or Loss()
    if loss.name not in facts.losses:
        yield Finding(
            path="spec.recipe.loss.name",
            rule=f"must be a loss for {dataset.task}",
            found=str(loss.name),
            remedy=f"use {', '.join(facts.losses)}",
        )
    measured = _list_measured(facts, loss, dataset)
    for path, metric in ranked_by.items():
        if metric.removeprefix("validation/") not in measured:
            yield Finding(
                path=path,
                rule=f"must be what validations of {dataset.task} measure{_describe_classes(metric, loss, dataset)}",
                found=metric,
                remedy=f"use {', '.join(f'validation/{name}' for name in measured)}",
            )
    yield from _find_augment_misfits(recipe.augment, facts, dataset)
    yield from _find_unpaired_mixing(recipe.augment, loss)
    yield from find_idle_fields(recipe, task=dataset.task, sample_shape=dataset.sample_shape)


def _list_measured(facts: TaskFacts, loss: Loss, dataset: RunDataset) -> tuple[str, ...]:
    """Return what validations of this run measure: five of the classes are a question where there are more, and predicted."""
    few = loss.name is LossName.CONTRASTIVE or dataset.class_count <= _TOP
    return tuple(name for name in facts.metrics if not (few and name == "topFiveAccuracy"))


def _describe_classes(metric: str, loss: Loss, dataset: RunDataset) -> str:
    if metric != RankableMetric("validation/topFiveAccuracy"):
        return ""
    return " with the loss contrastive" if loss.name is LossName.CONTRASTIVE else f" with {dataset.class_count} classes"


def _find_augment_misfits(augment: Augment, facts: TaskFacts, dataset: RunDataset) -> Iterator[Finding]:
    given = augment.model_dump(by_alias=True, exclude_defaults=True)
    for name in sorted(facts.no_augment & given.keys()):
        yield Finding(
            path=f"spec.recipe.augment.{name}",
            rule=f"must be left out for {dataset.task}",
            found=repr(given[name]),
            remedy="leave it out",
        )
    shape = dataset.sample_shape
    if len(shape) < 3:  # noqa: PLR2004  # not images
        return
    height, width = shape[:2]
    if augment.crop and augment.crop > min(height, width):
        yield Finding(
            path="spec.recipe.augment.crop",
            rule=f"must fit into the images of Dataset {dataset.name}, {width}x{height} pixels",
            found=str(augment.crop),
            remedy="lower it, or import the images larger (spec.image of the Dataset)",
        )
    turns = augment.quad_rotation in {QuadRotation.TURN_90, QuadRotation.ALL}
    if turns and height != width and not augment.crop:
        yield Finding(
            path="spec.recipe.augment.quadRotation",
            rule="must be none or turn180 for images that are not square",
            found=f"{augment.quad_rotation} for {width}x{height} pixels",
            remedy="use turn180, crop a square (augment.crop), or import the images as squares",
        )


def _find_unpaired_mixing(augment: Augment, loss: Loss) -> Iterator[Finding]:
    if loss.name is LossName.CONTRASTIVE and (augment.mixup or augment.cutmix):
        yield Finding(
            path="spec.recipe.augment",
            rule="must not mix images for the contrastive loss, which pairs them itself",
            found="mixup or cutmix",
            remedy="leave mixup and cutmix out",
        )
