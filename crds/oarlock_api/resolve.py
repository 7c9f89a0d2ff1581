"""Fills in every absent field, once: `resolve(job, dataset)` is the frozen run. Pure."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from oarlock_api.class_weights import find_classes_unknown_early
from oarlock_api.contract import CONTRACT_VERSION, DEFAULT_STATUS_PORT
from oarlock_api.findings import Finding, InvalidError
from oarlock_api.group_rules import find_bad_patterns
from oarlock_api.job_fit import find_misfits, settle_loss
from oarlock_api.model_rules import EarlierJob, find_bad_match, find_unshared_weights, place_first_weights
from oarlock_api.run import (
    DEFAULT_POD_USER,
    NOT_IN_TRAINING_HASH,
    Run,
    RunCheckpoints,
    RunDataset,
    RunScript,
    RunWorkers,
    content_hash,
)
from oarlock_api.settling import settle_recipe
from oarlock_api.tasks import TASKS
from oarlock_api.timeline_rules import find_trace_after_the_end
from oarlock_api.v1alpha1.dataset import Task
from oarlock_api.v1alpha1.recipe import Loss, Recipe
from oarlock_api.v1alpha1.status import DatasetStatus
from oarlock_api.v1alpha1.training_job import CheckpointInterval, ExportFormat, KeepBest, Model, Script, TrainingJobSpec
from oarlock_api.v1alpha1.volumes import AccessMode, VolumeSpec

DEFAULT_EPOCHS = 30.0
DEFAULT_BATCH_SIZE = 128
DEFAULT_INTERVAL = CheckpointInterval(epochs=1, minutes=10)
_GIB_PER_CPU_PROCESS = 2
_GIB_PER_GPU = 16
_CPUS_PER_GPU = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class Defaults:
    """What the administrator decides where a manifest says nothing."""

    image: str
    gpus_per_node: int = 0
    storage_class: str = ""
    """Empty: the cluster's default class."""
    status_port: int = DEFAULT_STATUS_PORT
    pod_user: int = DEFAULT_POD_USER
    """0: the platform assigns one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadyDataset:
    """A Dataset that is Ready."""

    name: str
    uid: str
    task: Task
    status: DatasetStatus


class UnresolvableError(InvalidError):
    """A valid job and a ready Dataset do not fit each other."""


def resolve(
    spec: TrainingJobSpec,
    *,
    name: str,
    generation: int,
    dataset: ReadyDataset | None,
    defaults: Defaults,
    earlier: EarlierJob | None = None,
    checkpoint_claim: str = "",
    claim_access_modes: Mapping[str, Sequence[str]] | None = None,
) -> Run:
    """Return everything that a job resolves to.

    Args:
        spec: a valid spec.
        name: the job's name.
        generation: generation of the spec.
        dataset: the Dataset that it names, Ready; None if it names none.
        defaults: what the administrator decides.
        earlier: the job from whose weights this one begins, if it names one.
        checkpoint_claim: name of the claim to create if the job names none; by default `<name>-checkpoints`.
        claim_access_modes: access modes of existing claims, by name, as far as known.

    Raises:
        UnresolvableError: with everything that does not fit.
    """
    workers = _resolve_workers(spec, defaults)
    run_dataset = _describe_dataset(dataset) if dataset else None
    recipe = _resolve_recipe(spec, run_dataset, workers) if run_dataset else None
    checkpoints = _resolve_checkpoints(
        spec,
        claim=checkpoint_claim or f"{name}-checkpoints",
        nodes=workers.most_nodes,
        task=run_dataset.task if run_dataset else Task.IMAGE_CLASSIFICATION,
        defaults=defaults,
    )
    misfits = _find_misfits(spec, recipe, run_dataset, workers, access_modes=claim_access_modes or {})
    shared = find_unshared_weights(earlier, workers, claim=checkpoints.claim, access_modes=claim_access_modes or {})
    if findings := [*misfits, *shared, *_find_strange_classes(recipe, dataset)]:
        raise UnresolvableError(findings)
    frozen = Run(
        contract_version=CONTRACT_VERSION,
        hash="",
        training_hash="",
        generation=generation,
        accepted=accepted_part(spec),
        dataset=run_dataset,
        code=spec.code,
        first_weights=place_first_weights(spec.model or Model(), claim=checkpoints.claim, earlier=earlier),
        steps=0,
        steps_per_epoch=0,
        workers=workers,
        checkpoints=checkpoints,
    )
    if spec.script is not None:
        return _hash(_freeze_script(frozen, spec.script, defaults))
    assert run_dataset is not None and recipe is not None  # noqa: S101, PT018  # a rule: a model has a data set
    return _hash(_freeze_model(frozen, spec.model or Model(), recipe, run_dataset))


def first_spec_change(run: Run, spec: TrainingJobSpec) -> Finding | None:
    """Return the first difference between the spec that was accepted and the one that is there now, if any.

    `runPolicy` may change at any time and is not compared, and so may the number of nodes of an elastic job.
    """
    if accepted_part(spec) == run.accepted:
        return None  # As a rule, and found out fast: this is asked with every plan.
    loss = run.recipe.loss if run.recipe else None
    accepted = TrainingJobSpec.from_wire(run.accepted)  # with today's defaults, as the other side has them
    if accepted.workers.elastic:
        same_size = spec.workers.model_copy(update={"nodes": accepted.workers.nodes})
        spec = spec.model_copy(update={"workers": same_size})
    return first_difference("spec", comparable_part(accepted, loss=loss), comparable_part(spec, loss=loss))


def accepted_part(spec: TrainingJobSpec) -> dict[str, Any]:
    """Return the part of a spec that is frozen when a job is accepted.

    Defaults are left out, so that an operator that knows one more field does not take every job for a changed one.
    """
    wire = spec.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    wire.pop("runPolicy", None)
    return wire


def comparable_part(spec: TrainingJobSpec, *, loss: Loss | None = None) -> dict[str, Any]:
    """Return the part of a spec that is frozen when a job is accepted, in the one form that equal specs have.

    Args:
        spec: the spec.
        loss: the loss of the run, whose name a recipe may have left open.
    """
    recipe = settle_recipe(spec.recipe)
    if recipe.loss and recipe.loss.name is None and loss:
        recipe = recipe.model_copy(update={"loss": recipe.loss.model_copy(update={"name": loss.name})})
    settled = spec.model_copy(update={"recipe": recipe})
    return {key: value for key, value in settled.to_wire().items() if key != "runPolicy"}


def first_difference(path: str, before: Any, after: Any) -> Finding | None:
    """Return the first difference between two JSON values, in the order of sorted keys."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        found = (
            first_difference(f"{path}.{key}", before.get(key), after.get(key)) for key in sorted({*before, *after})
        )
        return next(filter(None, found), None)
    if before == after:
        return None
    return Finding(
        path=path,
        rule=f"must stay {before!r}, with which the run was accepted",
        found=repr(after),
        remedy="set it back, or apply the new spec under another name",
    )


def _resolve_workers(spec: TrainingJobSpec, defaults: Defaults) -> RunWorkers:
    workers = spec.workers
    asked = workers.gpus_per_node
    gpus = asked if asked is not None else 0 if workers.processes_per_node else defaults.gpus_per_node
    processes = gpus or workers.processes_per_node or 1
    resources = workers.resources
    template = workers.pod_template
    return RunWorkers(
        nodes=workers.nodes,
        elastic=workers.elastic,
        processes_per_node=processes,
        gpus_per_node=gpus,
        gpu_resource=workers.gpu_resource,
        cpu=(resources and resources.cpu) or float(gpus * _CPUS_PER_GPU or processes),
        memory=(resources and resources.memory) or f"{gpus * _GIB_PER_GPU or processes * _GIB_PER_CPU_PROCESS}Gi",
        image=(spec.script and spec.script.image) or (template and template.image) or defaults.image,
        status_port=defaults.status_port,
        user=defaults.pod_user,
        pod_template=template,
    )


def _resolve_recipe(spec: TrainingJobSpec, dataset: RunDataset, workers: RunWorkers) -> Recipe:
    recipe = settle_recipe(spec.recipe)
    batch_size = recipe.batch_size or max(1, min(DEFAULT_BATCH_SIZE, dataset.train_samples // 10))
    world_size = workers.nodes * workers.processes_per_node
    share = math.ceil(batch_size / world_size)
    whole_run = {} if recipe.max_steps else {"epochs": recipe.epochs or DEFAULT_EPOCHS}
    settled = recipe.model_copy(
        update={
            **whole_run,
            "batch_size": batch_size,
            "micro_batch_size": min(recipe.micro_batch_size or share, share),
        }
    )
    return settle_loss(spec, settled, dataset.task)


def _describe_dataset(dataset: ReadyDataset) -> RunDataset:
    status = dataset.status
    return RunDataset(
        name=dataset.name,
        uid=dataset.uid,
        version=status.version,
        claim=status.claim,
        path=status.path,
        task=dataset.task,
        sample_shape=status.sample_shape,
        vocabulary_size=status.vocabulary_size,
        class_count=status.class_count,
        train_samples=status.counts.get("train", 0),
        validation_samples=status.counts.get("validation", 0),
    )


def _resolve_checkpoints(
    spec: TrainingJobSpec, *, claim: str, nodes: int, task: Task, defaults: Defaults
) -> RunCheckpoints:
    volume: VolumeSpec = spec.checkpoints.volume
    default_mode = AccessMode.READ_WRITE_MANY if nodes > 1 else AccessMode.READ_WRITE_ONCE
    return RunCheckpoints(
        every=spec.checkpoints.every or DEFAULT_INTERVAL,
        keep=spec.checkpoints.keep,
        keep_best=spec.checkpoints.keep_best or KeepBest(metric=TASKS[task].best_by),
        ranked=False if spec.script is not None and spec.checkpoints.keep_best is None else None,
        claim=volume.claim or claim,
        created=volume.claim is None,
        size=volume.size,
        storage_class=volume.storage_class or defaults.storage_class or None,
        access_modes=[str(mode) for mode in volume.access_modes or [default_mode]],
        retain=volume.retain,
        export_formats=_list_formats(spec),
    )


def _list_formats(spec: TrainingJobSpec) -> list[ExportFormat] | None:
    """Return the forms of the model that are written besides safetensors; None if there are none."""
    wanted = spec.checkpoints.export.formats if spec.checkpoints.export else []
    return [form for form in ExportFormat if form in wanted and form is not ExportFormat.SAFETENSORS] or None


def _find_data_misfits(spec: TrainingJobSpec, dataset: RunDataset) -> Iterator[Finding]:
    wanted = spec.dataset.version if spec.dataset else None
    if wanted and wanted != dataset.version:
        yield Finding(
            path="spec.dataset.version",
            rule=f"must be the version of Dataset {dataset.name}, {dataset.version}",
            found=wanted,
            remedy="drop version, or import the data that you mean",
        )
    if spec.model and (dataset.train_samples < 1 or dataset.validation_samples < 1):
        yield Finding(
            path="spec.dataset.name",
            rule="must name a Dataset with training and validation samples",
            found=f"{dataset.train_samples} and {dataset.validation_samples} in {dataset.name}",
            remedy="raise split.validation of the Dataset",
        )


def _find_misfits(
    spec: TrainingJobSpec,
    recipe: Recipe | None,
    dataset: RunDataset | None,
    workers: RunWorkers,
    *,
    access_modes: Mapping[str, Sequence[str]],
) -> Iterator[Finding]:
    if dataset is not None:
        yield from _find_data_misfits(spec, dataset)
    if dataset is not None and recipe is not None and spec.model is not None:
        yield from _find_recipe_misfits(spec, recipe, dataset, workers)
    yield from _find_volume_misfits(spec, dataset, workers, access_modes)
    yield from find_bad_patterns(spec.recipe)
    yield from find_bad_match(spec.model or Model())


def _find_strange_classes(recipe: Recipe | None, dataset: ReadyDataset | None) -> Iterator[Finding]:
    if recipe is not None and recipe.loss is not None and dataset is not None:
        status = dataset.status
        yield from find_classes_unknown_early(recipe.loss, status.classes, count=status.class_count)


def _find_recipe_misfits(
    spec: TrainingJobSpec, recipe: Recipe, dataset: RunDataset, workers: RunWorkers
) -> Iterator[Finding]:
    yield from find_misfits(spec, recipe, dataset)
    yield from _find_batch_misfits(recipe, dataset, workers)
    yield from find_trace_after_the_end(recipe, steps=_count_steps(recipe, dataset))


def _find_batch_misfits(recipe: Recipe, dataset: RunDataset, workers: RunWorkers) -> Iterator[Finding]:
    world_size = workers.most_nodes * workers.processes_per_node
    batch_size = recipe.batch_size or 1
    if batch_size > dataset.train_samples > 0:
        yield Finding(
            path="spec.recipe.batchSize",
            rule=f"must be at most the number of training samples, {dataset.train_samples}",
            found=str(batch_size),
            remedy="lower it",
        )
    if batch_size < world_size:
        yield Finding(
            path="spec.recipe.batchSize",
            rule=f"must be at least the number of processes, {world_size}",
            found=str(batch_size),
            remedy="raise it, or use fewer nodes or processes",
        )


def _find_volume_misfits(
    spec: TrainingJobSpec, dataset: RunDataset | None, workers: RunWorkers, access_modes: Mapping[str, Sequence[str]]
) -> Iterator[Finding]:
    if workers.most_nodes <= 1:
        return
    shared = {AccessMode.READ_WRITE_MANY, AccessMode.READ_ONLY_MANY}
    data_modes = access_modes.get(dataset.claim) if dataset else None
    if data_modes is not None and not shared & set(data_modes):
        yield Finding(
            path="spec.workers.elastic.maxNodes" if workers.elastic else "spec.workers.nodes",
            rule=f"must be 1 for a Dataset on a {', '.join(data_modes)} volume",
            found=str(workers.most_nodes),
            remedy="import the Dataset with storage.accessModes: [ReadWriteMany]",
        )
    claim = spec.checkpoints.volume.claim
    modes = access_modes.get(claim) if claim else None
    if modes is not None and AccessMode.READ_WRITE_MANY not in modes:
        yield Finding(
            path="spec.checkpoints.volume.claim",
            rule="must name a ReadWriteMany claim for more than one node",
            found=f"{claim} with {', '.join(modes)}",
            remedy="name a claim with ReadWriteMany, or set workers.nodes to 1",
        )


def _freeze_model(frozen: Run, model: Model, recipe: Recipe, dataset: RunDataset) -> Run:
    training = {
        "data": dataset.version,
        "model": model.to_wire(),
        "recipe": {key: value for key, value in recipe.to_wire().items() if key not in NOT_IN_TRAINING_HASH},
    }
    return frozen.model_copy(
        update={
            "training_hash": content_hash(training),
            "model": model,
            "recipe": recipe,
            "steps": _count_steps(recipe, dataset),
            "steps_per_epoch": dataset.train_samples / (recipe.batch_size or 1),
        }
    )


def _count_steps(recipe: Recipe, dataset: RunDataset) -> int:
    epochs, steps_per_epoch = recipe.epochs or DEFAULT_EPOCHS, dataset.train_samples / (recipe.batch_size or 1)
    return recipe.max_steps or max(1, math.ceil(epochs * steps_per_epoch))


def _freeze_script(frozen: Run, script: Script, defaults: Defaults) -> Run:
    """Return the run of a script: an image of the user's own gets the agent from the trainer image."""
    own_image = frozen.workers.image != defaults.image
    program = RunScript(command=script.command, seed=script.seed, agent_image=defaults.image if own_image else None)
    training = {
        "data": frozen.dataset.version if frozen.dataset else "",
        "command": script.command,
        "seed": script.seed,
    }
    return frozen.model_copy(update={"training_hash": content_hash(training), "script": program})


def _hash(run: Run) -> Run:
    # An edit of what may change at any time makes another generation of the spec, and the same run.
    resolved = {key: value for key, value in run.to_wire().items() if key not in {"hash", "generation"}}
    frozen = run.model_copy(update={"hash": content_hash(resolved)})
    # By way of the wire, so that every default counts as set: pods of later operators get what is frozen now.
    return Run.from_wire(frozen.to_wire())
