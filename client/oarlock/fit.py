"""Fits a job's workers to the machine that is to run it, and says what was changed. Pure.

A manifest for a cluster of GPUs shall run on a laptop as it is: what the recipe computes does not depend on the number of
processes, so that only the workers change.
"""

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from oarlock.local.machine import GPU_RESOURCE, Machine

CPUS_PER_GPU = 4
"""Cores that a pod with a GPU asks for where the manifest does not say."""
_CLUSTER_POLICIES = {
    "ttlSecondsAfterFinished": "results stay until they are cleared",
    "queue": "this machine has no queue",
}
"""Fields of runPolicy that mean nothing on one machine, and why."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Fitted:
    """A job that fits."""

    body: dict[str, Any]
    changes: tuple[str, ...]
    """What was changed and why, for people."""


def fit_job(body: Mapping[str, Any], machine: Machine, *, nodes: int | None = None) -> Fitted:
    """Return the manifest of a valid job with workers that this machine has.

    Args:
        body: the manifest.
        machine: what there is.
        nodes: pods to start on this machine; None: one, whatever the manifest says.
    """
    fitted = copy.deepcopy(dict(body))
    workers = fitted["spec"].setdefault("workers", {})
    changes = (
        *_fit_nodes(workers, nodes),
        *_fit_policies(fitted["spec"]),
        *_fit_script(fitted["spec"]),
        *_fit_gpus(workers, machine),
        *_fit_processes(workers, machine),
        *_fit_cpus(workers, machine),
    )
    return Fitted(body=fitted, changes=changes)


def _fit_nodes(workers: dict[str, Any], nodes: int | None) -> Iterator[str]:
    asked, given = workers.get("nodes", 1), nodes or 1
    if asked != given:
        workers["nodes"] = given
        why = "asked for with --nodes" if nodes else "this is one machine; --nodes starts more pods on it"
        yield f"workers.nodes: {asked} → {given} ({why})"


def _fit_policies(spec: dict[str, Any]) -> Iterator[str]:
    """Drop what is meant for clusters: here no machine comes or goes, and results stay until somebody clears them."""
    if spec["workers"].pop("elastic", None) is not None:
        yield "workers.elastic: left out (this is one machine)"
    policy = spec.get("runPolicy", {})
    left_out = [name for name in _CLUSTER_POLICIES if name in policy]
    if left_out:
        spec["runPolicy"] = fit_run_policy(policy)
    yield from (f"runPolicy.{name}: left out ({_CLUSTER_POLICIES[name]})" for name in left_out)


def fit_run_policy(policy: Mapping[str, Any]) -> dict[str, Any]:
    """Return a job's runPolicy without what only a cluster can do."""
    return {name: value for name, value in policy.items() if name not in _CLUSTER_POLICIES}


def _fit_script(spec: dict[str, Any]) -> Iterator[str]:
    """Run the program with this installation's Python: there are no images here."""
    if "script" not in spec:
        return
    template = spec["workers"].get("podTemplate", {})
    for path, part in (("script.image", spec["script"]), ("workers.podTemplate.image", template)):
        if part.pop("image", None) is not None:
            yield f"{path}: left out (this machine runs the program with its own Python)"


def _fit_gpus(workers: dict[str, Any], machine: Machine) -> Iterator[str]:
    asked = workers.get("gpusPerNode")
    if not asked:
        return
    there = len(machine.gpus) // workers.get("nodes", 1)
    if workers.get("gpuResource", GPU_RESOURCE) != GPU_RESOURCE:
        yield f"workers.gpuResource: {workers.pop('gpuResource')} → {GPU_RESOURCE}"
    if asked > there:
        workers["gpusPerNode"] = there
        yield f"workers.gpusPerNode: {asked} → {there} ({_count_gpus(machine)})"
        resources = workers.get("resources", {})
        for resource in ("cpu", "memory"):
            if resource in resources:  # meant for pods with that many GPUs
                yield f"workers.resources.{resource}: {resources.pop(resource)} → what {there or 'no'} GPUs need"


def _count_gpus(machine: Machine) -> str:
    return f"this machine has {len(machine.gpus) or 'no'} GPU{'s' * (len(machine.gpus) != 1)}"


def _fit_processes(workers: dict[str, Any], machine: Machine) -> Iterator[str]:
    asked, nodes = workers.get("processesPerNode", 1), workers.get("nodes", 1)
    room = max(1, machine.cpus // nodes)
    if asked > room:
        workers["processesPerNode"] = room
        yield f"workers.processesPerNode: {asked} → {room} ({machine.cpus} cores for {nodes} node{'s' * (nodes != 1)})"


def _fit_cpus(workers: dict[str, Any], machine: Machine) -> Iterator[str]:
    """Let pods on CPU use all cores, and none more than there are: threads follow from it."""
    room = machine.cpus / workers.get("nodes", 1)
    asked = workers.get("resources", {}).get("cpu")
    if asked is not None and asked > room:
        workers["resources"]["cpu"] = room
        yield f"workers.resources.cpu: {asked:g} → {room:g} ({machine.cpus} cores here)"
    elif asked is None and (room < CPUS_PER_GPU or not _uses_gpus(workers, machine)):
        workers.setdefault("resources", {})["cpu"] = room


def _uses_gpus(workers: Mapping[str, Any], machine: Machine) -> bool:
    """Say whether the pods will use GPUs: if the manifest is silent, those that are there are used."""
    asked = workers.get("gpusPerNode")
    return bool(machine.gpus) and not workers.get("processesPerNode") if asked is None else asked > 0
