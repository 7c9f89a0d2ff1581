"""The pod that imports a Dataset. Pure."""

import json
from collections.abc import Mapping

from oarlock_api import contract
from oarlock_api.run import ImportRun
from oarlock_api.v1alpha1.dataset import DatasetSpec
from oarlock_api.v1alpha1.pod_template import PodTemplate
from oarlock_operator import names
from oarlock_operator.manifests.environment import build_environment
from oarlock_operator.manifests.metadata import Manifest, Owner, build_labels, build_owner_reference, merge_reserved
from oarlock_operator.manifests.placement import build_image, build_placement
from oarlock_operator.manifests.resources import build_resources, whole_cpus
from oarlock_operator.manifests.security import WITHOUT_GPUS, build_container_security, build_pod_security
from oarlock_operator.manifests.volumes import ClaimMount, build_volume_mounts, build_volumes
from oarlock_operator.settings import Settings

DEFAULT_MEMORY = "2Gi"
PROGRESS_DEADLINE_SECONDS = 600
GRACE_PERIOD_SECONDS = 30


def build_import_pod(
    spec: DatasetSpec, *, owner: Owner, claim: str, attempt: int, run_hash: str, settings: Settings
) -> Manifest:
    """Return the pod that imports a Dataset into its claim.

    Args:
        spec: a valid spec.
        owner: the Dataset.
        claim: the claim that receives the data.
        attempt: number of the attempt, counted from 0.
        run_hash: hash of what is imported.
        settings: default image, port and number of processes.
    """
    template = spec.pod_template or PodTemplate()
    cpu = import_cpu(spec, settings)
    mounts = _build_mounts(spec, claim)
    variables = _build_variables(spec, owner=owner, attempt=attempt, run_hash=run_hash, settings=settings)
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": names.import_pod_name(owner.name, owner.uid, attempt=attempt),
            "namespace": owner.namespace,
            "labels": merge_reserved(_build_pod_labels(owner, attempt=attempt), template.labels),
            "annotations": merge_reserved(
                {
                    names.RUN_HASH_ANNOTATION: run_hash,
                    names.GRACE_PERIOD_ANNOTATION: str(GRACE_PERIOD_SECONDS),
                },
                template.annotations,
            ),
            "ownerReferences": [build_owner_reference(owner)],
        },
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": GRACE_PERIOD_SECONDS,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "securityContext": build_pod_security(settings.pod_user),
            **build_placement(template),
            "containers": [
                {
                    "name": names.TRAINER_CONTAINER,
                    **build_image(template.image or settings.trainer_image, template),
                    "command": ["python", "-m", contract.AGENT_MODULE, "import"],
                    "env": build_environment(variables, template),
                    "ports": [{"name": "status", "containerPort": settings.status_port, "protocol": "TCP"}],
                    "resources": build_resources(cpu=cpu, memory=_import_memory(spec)),
                    "securityContext": build_container_security(),
                    "terminationMessagePath": contract.TERMINATION_LOG,
                    "terminationMessagePolicy": "File",
                    "volumeMounts": build_volume_mounts(mounts, template),
                }
            ],
            "volumes": build_volumes(mounts, template),
        },
    }


def format_import_run(name: str, spec: DatasetSpec, *, settings: Settings) -> str:
    """Return the value of OARLOCK_RUN in import pods: what to import, without how the pod is made."""
    imported = spec.model_copy(update={"pod_template": None, "resources": None})
    run = ImportRun(name=name, spec=imported, workers=whole_cpus(import_cpu(spec, settings)))
    return json.dumps(run.to_wire(), separators=(",", ":"), sort_keys=True, ensure_ascii=False)


def import_cpu(spec: DatasetSpec, settings: Settings) -> float:
    """Return the CPU cores of the import pod."""
    return (spec.resources and spec.resources.cpu) or float(settings.import_workers)


def _import_memory(spec: DatasetSpec) -> str:
    return (spec.resources and spec.resources.memory) or DEFAULT_MEMORY


def _build_mounts(spec: DatasetSpec, claim: str) -> list[ClaimMount]:
    data = ClaimMount(claim=claim, path=contract.DATA_MOUNT, read_only=False)
    volume = spec.source.volume
    if volume is None:
        return [data]
    return [data, ClaimMount(claim=volume.claim, path=contract.SOURCE_MOUNT, read_only=True)]


def _build_pod_labels(owner: Owner, *, attempt: int) -> dict[str, str]:
    return {
        **build_labels(owner, component="import"),
        names.UID_LABEL: owner.uid,
        names.ROLE_LABEL: names.IMPORT_ROLE,
        names.ATTEMPT_LABEL: str(attempt),
        names.RANK_LABEL: "0",
    }


def _build_variables(
    spec: DatasetSpec, *, owner: Owner, attempt: int, run_hash: str, settings: Settings
) -> Mapping[str, str]:
    volume = spec.source.volume
    source = {contract.SOURCE_DIR_ENV: f"{contract.SOURCE_MOUNT}/{volume.path}".rstrip("/")} if volume else {}
    return {
        contract.CONTRACT_VERSION_ENV: str(contract.CONTRACT_VERSION),
        contract.RUN_ENV: format_import_run(owner.name, spec, settings=settings),
        contract.JOB_UID_ENV: owner.uid,
        contract.RUN_HASH_ENV: run_hash,
        contract.ATTEMPT_ENV: str(attempt),
        contract.NODES_ENV: "1",
        contract.NODE_RANK_ENV: "0",
        contract.PROCESSES_PER_NODE_ENV: "1",
        contract.CPUS_ENV: str(whole_cpus(import_cpu(spec, settings))),
        contract.PROGRESS_DEADLINE_SECONDS_ENV: str(PROGRESS_DEADLINE_SECONDS),
        contract.GRACE_PERIOD_SECONDS_ENV: str(GRACE_PERIOD_SECONDS),
        contract.STATUS_PORT_ENV: str(settings.status_port),
        contract.TERMINATION_LOG_ENV: contract.TERMINATION_LOG,
        contract.DATA_DIR_ENV: f"{contract.DATA_MOUNT}/{names.data_folder(owner.name, owner.uid)}",
        **source,
        contract.SCRATCH_DIR_ENV: contract.SCRATCH_MOUNT,
        "HOME": contract.SCRATCH_MOUNT,
        "TMPDIR": contract.SCRATCH_MOUNT,
        **WITHOUT_GPUS,
    }
