"""`oarlock run --dry-run`: the job as it would be accepted, every absent field filled in; nothing is created."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from oarlock.fit import fit_job, fit_run_policy
from oarlock.local.machine import Machine
from oarlock.local.session import IMAGE
from oarlock.manifests.problems import ManifestsError, Problem
from oarlock.manifests.reading import Manifest
from oarlock_api.deadlines import choose_progress_deadline
from oarlock_api.findings import Finding
from oarlock_api.resolve import Defaults, ReadyDataset, UnresolvableError, resolve
from oarlock_api.run import Run
from oarlock_api.v1alpha1 import DatasetStatus, TrainingJobSpec
from oarlock_api.v1alpha1.dataset import Task
from oarlock_api.v1alpha1.training_job import RunPolicy

_FEW, _MANY = 1_000, 1_000_000
"""Samples of two imagined data sets: what differs between them depends on the data."""
_SIDE = 64
_CLASSES = 10
_LENGTH, _WORDS = 256, 20_000
_SHOWN = ("model", "recipe", "script", "code", "steps", "stepsPerEpoch", "workers", "checkpoints", "runPolicy")
_MACHINERY = frozenset(
    {"image", "statusPort", "gpuResource", "created", "size", "storageClass", "accessModes", "retain"}
)
"""Fields that mean nothing on one machine."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Resolved:
    """One job as it would be accepted."""

    name: str
    run: dict[str, Any]
    undecided: tuple[str, ...] = ()
    """Paths of the fields that depend on data that is not imported yet."""
    changes: tuple[str, ...] = field(default=())
    """What was fitted to the machine."""


def resolve_job(
    manifest: Manifest, *, dataset: Mapping[str, Any] | None, machine: Machine, nodes: int | None
) -> Resolved:
    """Return a job as it would be accepted.

    Args:
        manifest: a valid job.
        dataset: its Dataset as it is on the local cluster or in the manifests; while it is not Ready, what depends on its
            content stays undecided.
        machine: what there is.
        nodes: pods asked for on the command line.

    Raises:
        ManifestsError: if job and data do not fit each other.
    """
    fitted = fit_job(manifest.body, machine, nodes=nodes)
    spec = TrainingJobSpec.from_wire(fitted.body["spec"])
    try:
        if dataset is not None and dataset.get("status", {}).get("version"):
            ready = ReadyDataset(
                name=dataset["metadata"]["name"],
                uid=dataset["metadata"]["uid"],
                task=Task(dataset["spec"].get("task", Task.IMAGE_CLASSIFICATION)),
                status=DatasetStatus.from_wire(dataset["status"]),
            )
            run = _resolve(manifest, spec, ready, machine)
            return Resolved(name=manifest.name, run=_show(run, spec), changes=fitted.changes)
        few, many = (
            _show(_resolve(manifest, spec, _imagine(spec, count, dataset), machine), spec) for count in (_FEW, _MANY)
        )
    except UnresolvableError as error:
        raise ManifestsError(_place(manifest, finding) for finding in error.findings) from None
    return Resolved(
        name=manifest.name, run=few, undecided=tuple(_list_differences("", few, many)), changes=fitted.changes
    )


def _resolve(manifest: Manifest, spec: TrainingJobSpec, dataset: ReadyDataset | None, machine: Machine) -> Run:
    defaults = Defaults(image=IMAGE, gpus_per_node=len(machine.gpus))
    return resolve(spec, name=manifest.name, generation=1, dataset=dataset, defaults=defaults)


def _imagine(spec: TrainingJobSpec, count: int, dataset: Mapping[str, Any] | None) -> ReadyDataset | None:
    """Return a data set as the manifest describes it, with so many samples to train on; None for a job without one."""
    if spec.dataset is None:
        return None
    samples = max(count, spec.recipe.batch_size or 1)
    described = dataset["spec"] if dataset else {}
    task = Task(described.get("task", Task.IMAGE_CLASSIFICATION))
    text = task is Task.TEXT_CLASSIFICATION
    status = DatasetStatus(
        version=spec.dataset.version or "0",
        counts={"train": samples, "validation": samples},
        class_count=_CLASSES,
        sample_shape=[_LENGTH] if text else _imagine_image(described, least=spec.recipe.augment.crop or 0),
        vocabulary_size=_WORDS if text else None,
    )
    return ReadyDataset(name=spec.dataset.name, uid="", task=task, status=status)


def _imagine_image(described: Mapping[str, Any], *, least: int) -> list[int]:
    """Return height, width and channels as the Dataset says; what it leaves open fits whatever needs `least` pixels."""
    image = described.get("image") or {}
    width, height = image.get("width"), image.get("height")
    is_table = any(kind in described.get("layout", {}) for kind in ("csv", "idx"))
    channels = image.get("channels") or ("gray" if is_table else "rgb")
    open_side = max(_SIDE, least)
    return [height or width or open_side, width or height or open_side, 1 if channels == "gray" else 3]


def _show(run: Run, spec: TrainingJobSpec) -> dict[str, Any]:
    """Return the parts of a run that mean something to its user, and how it is treated, which no run holds: it may change."""
    wire = {**run.to_wire(), "runPolicy": _resolve_policy(spec.run_policy, run)}
    return {key: _without_machinery(wire[key]) for key in _SHOWN if key in wire}


def _resolve_policy(policy: RunPolicy, run: Run) -> dict[str, Any]:
    """Return every field of a policy that means something on one machine; null: no limit."""
    every = RunPolicy.model_validate(
        {
            **policy.model_dump(),
            "progress_deadline_seconds": choose_progress_deadline(policy, is_script=run.script is not None),
        }
    )
    return fit_run_policy(every.model_dump(mode="json", by_alias=True))


def _without_machinery(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_machinery(part) for key, part in value.items() if key not in _MACHINERY}
    return value


def _list_differences(path: str, one: Any, other: Any) -> Sequence[str]:
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        below = ((f"{path}.{key}".lstrip("."), key) for key in one)
        return [found for name, key in below for found in _list_differences(name, one[key], other.get(key))]
    return [] if one == other else [path]


def _place(manifest: Manifest, finding: Finding) -> Problem:
    return Problem(place=manifest.place_of(finding.path), finding=finding)


def mark_undecided(run: Mapping[str, Any], undecided: Sequence[str], *, path: str = "") -> dict[str, Any]:
    """Return a run in which what depends on the data says so."""
    marked: dict[str, Any] = {}
    for key, value in run.items():
        below = f"{path}.{key}".lstrip(".")
        if below in undecided:
            marked[key] = "decided when the data is imported"
        else:
            marked[key] = mark_undecided(value, undecided, path=below) if isinstance(value, Mapping) else value
    return marked
