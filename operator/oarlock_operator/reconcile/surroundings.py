"""What the pods of a job or an import wait in: claims, nodes, and what they ask for. Pure."""

from collections.abc import Mapping
from typing import Any

from oarlock_api.run import Run
from oarlock_api.v1alpha1.pod_template import PodTemplate
from oarlock_operator.manifests.first_weights import find_earlier_claim
from oarlock_operator.manifests.importer import DEFAULT_MEMORY, import_cpu
from oarlock_operator.manifests.placement import build_placement
from oarlock_operator.manifests.resources import build_resources
from oarlock_operator.policy.wait import Surroundings
from oarlock_operator.reconcile.dataset_view import DatasetView
from oarlock_operator.reconcile.inheriting import mounts_first_weights
from oarlock_operator.reconcile.job_view import JobView


def surround_job(job: JobView) -> Surroundings:
    """Return what the pods of a job wait in."""
    spec = _outline_worker(job.run) if job.run else {}
    # That of an earlier job does not hold up pods which resume from a checkpoint.
    spared = find_earlier_claim(job.run) if job.run and not mounts_first_weights(job) else None
    claims = {name: claim for name, claim in job.observed.claims.items() if name != spared}
    return Surroundings(claims=claims, pod_spec=spec, rooms=job.observed.rooms, is_local=job.settings.is_local)


def surround_import(data: DatasetView) -> Surroundings:
    """Return what the pod of an import waits in."""
    spec = _outline_import(data) if data.spec else {}
    return Surroundings(
        claims=data.observed.claims, pod_spec=spec, rooms=data.observed.rooms, is_local=data.settings.is_local
    )


def _outline_worker(run: Run) -> Mapping[str, Any]:
    workers = run.workers
    resources = build_resources(
        cpu=workers.cpu, memory=workers.memory, gpus=workers.gpus_per_node, gpu_resource=workers.gpu_resource
    )
    return _outline(workers.pod_template, image=workers.image, resources=resources)


def _outline_import(data: DatasetView) -> Mapping[str, Any]:
    if data.spec is None:
        return {}
    template = data.spec.pod_template
    memory = (data.spec.resources and data.spec.resources.memory) or DEFAULT_MEMORY
    resources = build_resources(cpu=import_cpu(data.spec, data.settings), memory=memory)
    image = (template and template.image) or data.settings.trainer_image
    return _outline(template, image=image, resources=resources)


def _outline(template: PodTemplate | None, *, image: str, resources: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return of a pod's spec what decides where it may run."""
    return {**build_placement(template or PodTemplate()), "containers": [{"image": image, "resources": resources}]}
