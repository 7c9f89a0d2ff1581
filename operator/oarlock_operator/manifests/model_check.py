"""The pod that finds out whether a model fits its data set, before any GPU is taken for it: one core, no GPU, no checkpoints. Pure."""

from oarlock_api import contract
from oarlock_api.run import Run
from oarlock_api.v1alpha1.pod_template import PodTemplate
from oarlock_operator import names
from oarlock_operator.manifests.environment import build_environment
from oarlock_operator.manifests.metadata import Manifest, Owner, build_labels, build_owner_reference, merge_reserved
from oarlock_operator.manifests.placement import build_image, build_placement
from oarlock_operator.manifests.resources import build_resources
from oarlock_operator.manifests.scripts import build_code_mounts, build_code_variables, build_code_volumes
from oarlock_operator.manifests.security import WITHOUT_GPUS, build_container_security, build_pod_security
from oarlock_operator.manifests.volumes import ClaimMount, build_volume_mounts, build_volumes
from oarlock_operator.manifests.workers import format_worker_run
from oarlock_operator.policy.amounts import parse_amount

GRACE_SECONDS = 5
PROGRESS_DEADLINE_SECONDS = 300
"""Seconds in which code of the user's own must have made its model."""
_MOST_MEMORY = "8Gi"
"""Room for a model of two thousand million weights; a check that needs more is given up, and training finds out."""


def build_model_check_pod(run: Run, *, owner: Owner) -> Manifest:
    """Return the pod, made like a worker as far as that decides how the user's code behaves."""
    template = run.workers.pod_template or PodTemplate()
    mounts = [ClaimMount(claim=run.dataset.claim, path=contract.DATA_MOUNT, read_only=True)] if run.dataset else []
    container = {
        "name": names.TRAINER_CONTAINER,
        **build_image(run.workers.image, template),
        "command": ["python", "-m", contract.AGENT_MODULE, "check"],
        "env": build_environment(_build_variables(run, owner), template),
        "ports": [{"name": "status", "containerPort": run.workers.status_port, "protocol": "TCP"}],
        "resources": build_resources(cpu=min(1.0, run.workers.cpu), memory=_choose_memory(run)),
        "securityContext": build_container_security(),
        "terminationMessagePath": contract.TERMINATION_LOG,
        "terminationMessagePolicy": "File",
        "volumeMounts": [*build_volume_mounts(mounts, template), *build_code_mounts(run)],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": _build_metadata(run, template, owner),
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": GRACE_SECONDS,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "securityContext": build_pod_security(run.workers.user),
            **build_placement(template),
            "containers": [container],
            "volumes": [*build_volumes(mounts, template), *build_code_volumes(run)],
        },
    }


def _build_metadata(run: Run, template: PodTemplate, owner: Owner) -> Manifest:
    labels = {
        **build_labels(owner, component=names.CHECK_ROLE),
        names.UID_LABEL: owner.uid,
        names.ROLE_LABEL: names.CHECK_ROLE,
        names.ATTEMPT_LABEL: "0",
    }
    annotations = {names.RUN_HASH_ANNOTATION: run.hash, names.GRACE_PERIOD_ANNOTATION: str(GRACE_SECONDS)}
    return {
        "name": names.model_check_pod_name(owner.name, owner.uid, run_hash=run.hash),
        "namespace": owner.namespace,
        "labels": merge_reserved(labels, template.labels),
        "annotations": merge_reserved(annotations, template.annotations),
        "ownerReferences": [build_owner_reference(owner)],
    }


def _choose_memory(run: Run) -> str:
    return min(run.workers.memory, _MOST_MEMORY, key=parse_amount)


def _build_variables(run: Run, owner: Owner) -> dict[str, str]:
    data = {contract.DATA_DIR_ENV: f"{contract.DATA_MOUNT}/{run.dataset.path}"} if run.dataset else {}
    return {
        contract.CONTRACT_VERSION_ENV: str(run.contract_version),
        contract.RUN_ENV: format_worker_run(run),
        contract.JOB_UID_ENV: owner.uid,
        contract.RUN_HASH_ENV: run.hash,
        contract.ATTEMPT_ENV: "0",
        contract.CPUS_ENV: "1",
        contract.PROGRESS_DEADLINE_SECONDS_ENV: str(PROGRESS_DEADLINE_SECONDS),
        contract.GRACE_PERIOD_SECONDS_ENV: str(GRACE_SECONDS),
        contract.STATUS_PORT_ENV: str(run.workers.status_port),
        contract.TERMINATION_LOG_ENV: contract.TERMINATION_LOG,
        **data,
        **build_code_variables(run),
        contract.RUN_DIR_ENV: f"{contract.SCRATCH_MOUNT}/run",
        contract.SCRATCH_DIR_ENV: contract.SCRATCH_MOUNT,
        "HOME": contract.SCRATCH_MOUNT,
        "TMPDIR": contract.SCRATCH_MOUNT,
        **WITHOUT_GPUS,
    }
