"""What a recipe says and nothing would act on, so that nobody takes its value for the cause of a result. Pure.

What equals its default is never a finding: an API server may have written it, and it claims nothing.
"""

from collections.abc import Iterator

from oarlock_api.findings import Finding
from oarlock_api.v1alpha1.dataset import Task
from oarlock_api.v1alpha1.recipe import Augment, ClassWeights, Loss, LossName, MeanSubtraction, Recipe

_WEIGHTED = frozenset({LossName.CROSS_ENTROPY, LossName.DICE_CROSS_ENTROPY, LossName.FOCAL})
_SMOOTHED = frozenset({LossName.CROSS_ENTROPY, LossName.DICE_CROSS_ENTROPY})
_COLORS = 3
"""Channels of images whose colours can be shifted."""


def find_idle_fields(recipe: Recipe, *, task: Task, sample_shape: list[int]) -> Iterator[Finding]:
    """Yield what the recipe gives beside a loss, a task or images that have no use for it.

    Args:
        recipe: the recipe, its loss resolved.
        task: what is learned.
        sample_shape: height, width, channels; of texts, their length; empty while it is not known.
    """
    yield from _find_idle_loss_fields(recipe.loss or Loss(), task)
    yield from _find_idle_normalisation(recipe, task)
    yield from _find_idle_color(recipe.augment, sample_shape)


def _find_idle_loss_fields(loss: Loss, task: Task) -> Iterator[Finding]:
    yield from _find_idle_weights(loss, task)
    if loss.label_smoothing and loss.name not in _SMOOTHED:
        yield Finding(
            path="spec.recipe.loss.labelSmoothing",
            rule=f"must be 0 for the loss {loss.name}",
            found=str(loss.label_smoothing),
            remedy="leave it out, or use crossEntropy",
        )
    default = Loss()
    if loss.focal_gamma != default.focal_gamma and loss.name is not LossName.FOCAL:
        yield _describe_stranger("focalGamma", loss.focal_gamma, loss, owner=LossName.FOCAL)
    if loss.margin != default.margin and loss.name is not LossName.CONTRASTIVE:
        yield _describe_stranger("margin", loss.margin, loss, owner=LossName.CONTRASTIVE)


def _find_idle_weights(loss: Loss, task: Task) -> Iterator[Finding]:
    detects = task is Task.OBJECT_DETECTION
    if loss.name in _WEIGHTED and not detects:
        return
    owner = str(task) if detects else f"the loss {loss.name}"
    remedy = "leave it out" if detects else f"leave it out, or use {', '.join(sorted(_WEIGHTED))}"
    if loss.class_weights is not ClassWeights.NONE:
        yield Finding(
            path="spec.recipe.loss.classWeights",
            rule=f"must be none for {owner}",
            found=str(loss.class_weights),
            remedy=remedy,
        )
    if loss.weight_by_class is not None:
        yield Finding(
            path="spec.recipe.loss.weightByClass",
            rule=f"must be left out for {owner}",
            found=", ".join(sorted(loss.weight_by_class)),
            remedy=remedy,
        )


def _describe_stranger(parameter: str, value: float, loss: Loss, *, owner: LossName) -> Finding:
    return Finding(
        path=f"spec.recipe.loss.{parameter}",
        rule=f"must be left out for the loss {loss.name}",
        found=f"{value:g}",
        remedy=f"leave it out, or use {owner} where the task has it",
    )


def _find_idle_normalisation(recipe: Recipe, task: Task) -> Iterator[Finding]:
    if recipe.mean_subtraction is not MeanSubtraction.IMAGE:
        return
    if task is Task.TEXT_CLASSIFICATION:
        yield Finding(
            path="spec.recipe.meanSubtraction",
            rule=f"must be left out for {task}",
            found=str(recipe.mean_subtraction),
            remedy="leave it out: words have no mean",
        )
    elif recipe.augment.whitening:
        yield Finding(
            path="spec.recipe.meanSubtraction",
            rule="must be left out beside augment.whitening, which takes each image's own mean and deviation instead",
            found=str(recipe.mean_subtraction),
            remedy="keep the one you mean",
        )


def _find_idle_color(augment: Augment, sample_shape: list[int]) -> Iterator[Finding]:
    channels = sample_shape[2:]  # of images
    color = augment.color
    if not channels or channels == [_COLORS] or color is None or not (color.hue or color.saturation or color.value):
        return
    yield Finding(
        path="spec.recipe.augment.color",
        rule="must be left out for images that are not in colour",
        found=f"{channels[0]} channel{'s' * (channels[0] != 1)}",
        remedy="leave it out, or import the images in colour (spec.image.channels of the Dataset)",
    )
