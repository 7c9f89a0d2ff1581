"""Whether jobs go with the tasks of their Datasets, said before any data is imported. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from oarlock_api.findings import Finding
from oarlock_api.job_fit import find_early_misfits
from oarlock_api.v1alpha1 import DatasetSpec, TrainingJobSpec
from oarlock_api.v1alpha1.dataset import Task

Body = Mapping[str, Any]
Place = tuple[str, str]
"""Namespace and name."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Surroundings:
    """What is known beside a job."""

    tasks: Mapping[Place, Task]
    """Of Datasets."""
    accepted: frozenset[Place]
    """Jobs that go on as they were accepted: they are not asked again."""


def survey(manifests: Iterable[Body], known: Iterable[Body]) -> Surroundings:
    """Return what is known beside the jobs.

    Args:
        manifests: valid manifests.
        known: objects that are there already; what the manifests say of them counts.
    """
    here = list(known)
    stored = {_place(body): _read_stored_task(body) for body in here if body["kind"] == "Dataset"}
    given = {_place(body): DatasetSpec.from_wire(body["spec"]).task for body in manifests if body["kind"] == "Dataset"}
    known_tasks = {place: task for place, task in stored.items() if task is not None}
    accepted = frozenset(
        _place(body) for body in here if body["kind"] == "TrainingJob" and body.get("status", {}).get("run")
    )
    return Surroundings(tasks={**known_tasks, **given}, accepted=accepted)


def find_misfits(job: Body, surroundings: Surroundings) -> Iterator[Finding]:
    """Yield what a valid job asks for that the task of its Dataset rules out; nothing while the Dataset is not known."""
    spec = TrainingJobSpec.from_wire(job["spec"])
    if spec.dataset is None or _place(job) in surroundings.accepted:
        return
    task = surroundings.tasks.get((_place(job)[0], spec.dataset.name))
    if task is not None:
        yield from find_early_misfits(spec, dataset=spec.dataset.name, task=task)


def _place(body: Body) -> Place:
    return body["metadata"].get("namespace", ""), body["metadata"]["name"]


def _read_stored_task(body: Body) -> Task | None:
    """Return the task of a stored Dataset; None for one that this version does not know."""
    written = body["spec"].get("task", Task.IMAGE_CLASSIFICATION)
    return Task(written) if written in set(Task) else None
