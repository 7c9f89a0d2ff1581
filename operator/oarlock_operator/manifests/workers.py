"""The pods that train: one a node and attempt, built from the frozen run alone. Pure."""

import json
from collections.abc import Mapping, Sequence

from oarlock_api import contract
from oarlock_api.deadlines import choose_progress_deadline
from oarlock_api.run import Run, build_worker_run
from oarlock_api.v1alpha1.pod_template import PodTemplate
from oarlock_api.v1alpha1.training_job import RunPolicy
from oarlock_operator import names
from oarlock_operator.manifests.environment import build_environment
from oarlock_operator.manifests.first_weights import build_first_weights_mounts, build_first_weights_variables
from oarlock_operator.manifests.metadata import (
    Manifest,
    Owner,
    build_labels,
    build_owner_reference,
    merge_reserved,
)
from oarlock_operator.manifests.placement import build_image, build_placement
from oarlock_operator.manifests.pod_groups import (
    GroupScheduler,
    build_group_annotations,
    build_group_labels,
    build_scheduler_name,
)
from oarlock_operator.manifests.queues import build_queue_annotations, build_queue_labels
from oarlock_operator.manifests.resources import build_resources, whole_cpus
from oarlock_operator.manifests.scripts import (
    build_agent_command,
    build_agent_copy,
    build_code_mounts,
    build_code_variables,
    build_code_volumes,
)
from oarlock_operator.manifests.security import WITHOUT_GPUS, build_container_security, build_pod_security
from oarlock_operator.manifests.volumes import ClaimMount, build_volume_mounts, build_volumes

KILL_MARGIN_SECONDS = 15
"""Seconds that the agent has beyond the user's grace period, to write the termination record and exit."""
JOIN_SHARE = 0.8
"""Share of the startup deadline after which the ranks stop waiting for each other: they know best who is missing."""


def build_worker_pod(
    run: Run,
    *,
    owner: Owner,
    attempt: int,
    rank: int,
    nodes: int,
    policy: RunPolicy,
    excluded: Sequence[str] = (),
    preferred: Sequence[str] = (),
    scheduler: GroupScheduler | None = None,
    mounts_first_weights: bool = True,
) -> Manifest:
    """Return the pod of one node of an attempt.

    Args:
        run: the frozen run.
        owner: the job.
        attempt: number of the attempt.
        rank: rank of the node within it.
        nodes: how many nodes the attempt has.
        policy: how to treat the run now.
        excluded: names of nodes that the pod must not use.
        preferred: names of nodes on which there is room for the pods.
        scheduler: who places the pods of the attempt as a group; None: each is placed alone.
        mounts_first_weights: whether the pod may need the volume of the job from whose weights this one begins.
    """
    template = run.workers.pod_template or PodTemplate()
    mounts = [*_build_mounts(run), *(build_first_weights_mounts(run) if mounts_first_weights else ())]
    variables = _build_variables(run, owner=owner, attempt=attempt, rank=rank, nodes=nodes, policy=policy)
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": _join_group(
            _build_metadata(run, template, owner=owner, attempt=attempt, rank=rank, nodes=nodes, policy=policy),
            scheduler,
            names.pod_group_name(owner.name, owner.uid, attempt=attempt),
        ),
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": policy.grace_period_seconds + KILL_MARGIN_SECONDS,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "hostname": names.worker_hostname(attempt=attempt, rank=rank),
            "subdomain": names.service_name(owner.name, owner.uid),
            "securityContext": build_pod_security(run.workers.user),
            **build_placement(template, excluded=excluded, preferred=preferred),
            **build_scheduler_name(scheduler),
            **build_agent_copy(run, template),
            "containers": [_build_container(run, template, mounts=mounts, variables=variables)],
            "volumes": [*build_volumes(mounts, template), *build_code_volumes(run)],
        },
    }


def format_worker_run(run: Run) -> str:
    """Return the value of OARLOCK_RUN in worker pods."""
    return json.dumps(build_worker_run(run).to_wire(), separators=(",", ":"), sort_keys=True, ensure_ascii=False)


def _build_metadata(
    run: Run, template: PodTemplate, *, owner: Owner, attempt: int, rank: int, nodes: int, policy: RunPolicy
) -> Manifest:
    labels = {
        **_build_pod_labels(owner, attempt=attempt, rank=rank),
        **build_queue_labels(policy.queue, owner=owner, attempt=attempt, nodes=nodes),
    }
    annotations = {
        names.RUN_HASH_ANNOTATION: run.hash,
        names.GRACE_PERIOD_ANNOTATION: str(policy.grace_period_seconds),
        **build_queue_annotations(policy.queue, nodes=nodes),
    }
    return {
        "name": names.worker_pod_name(owner.name, owner.uid, attempt=attempt, rank=rank),
        "namespace": owner.namespace,
        "labels": merge_reserved(labels, template.labels),
        "annotations": merge_reserved(annotations, template.annotations),
        "ownerReferences": [build_owner_reference(owner)],
    }


def _join_group(metadata: Manifest, scheduler: GroupScheduler | None, group: str) -> Manifest:
    """Have a pod name its group, whatever its template says of that."""
    return {
        **metadata,
        "labels": {**metadata["labels"], **build_group_labels(scheduler, group)},
        "annotations": {**metadata["annotations"], **build_group_annotations(scheduler, group)},
    }


def _build_container(
    run: Run, template: PodTemplate, *, mounts: Sequence[ClaimMount], variables: Mapping[str, str]
) -> Manifest:
    workers = run.workers
    return {
        "name": names.TRAINER_CONTAINER,
        **build_image(workers.image, template),
        "command": build_agent_command(run),
        "env": build_environment(variables, template),
        "ports": [{"name": "status", "containerPort": workers.status_port, "protocol": "TCP"}],
        "resources": build_resources(
            cpu=workers.cpu, memory=workers.memory, gpus=workers.gpus_per_node, gpu_resource=workers.gpu_resource
        ),
        "securityContext": build_container_security(),
        "terminationMessagePath": contract.TERMINATION_LOG,
        "terminationMessagePolicy": "File",
        "volumeMounts": [*build_volume_mounts(mounts, template), *build_code_mounts(run)],
    }


def _build_mounts(run: Run) -> list[ClaimMount]:
    return [
        *([ClaimMount(claim=run.dataset.claim, path=contract.DATA_MOUNT, read_only=True)] if run.dataset else ()),
        ClaimMount(claim=run.checkpoints.claim, path=contract.RUNS_MOUNT, read_only=False),
    ]


def _build_pod_labels(owner: Owner, *, attempt: int, rank: int) -> dict[str, str]:
    return {
        **build_labels(owner, component="worker"),
        names.UID_LABEL: owner.uid,
        names.ROLE_LABEL: names.WORKER_ROLE,
        names.ATTEMPT_LABEL: str(attempt),
        names.RANK_LABEL: str(rank),
    }


def _build_variables(
    run: Run, *, owner: Owner, attempt: int, rank: int, nodes: int, policy: RunPolicy
) -> Mapping[str, str]:
    workers = run.workers
    endpoint = names.rendezvous_endpoint(owner.name, owner.uid, attempt=attempt) if nodes > 1 else ""
    return {
        contract.CONTRACT_VERSION_ENV: str(run.contract_version),
        contract.RUN_ENV: format_worker_run(run),
        contract.JOB_UID_ENV: owner.uid,
        contract.RUN_HASH_ENV: run.hash,
        contract.ATTEMPT_ENV: str(attempt),
        contract.NODES_ENV: str(nodes),
        contract.NODE_RANK_ENV: str(rank),
        contract.PROCESSES_PER_NODE_ENV: str(workers.processes_per_node),
        contract.CPUS_ENV: str(whole_cpus(workers.cpu)),
        contract.RENDEZVOUS_ENDPOINT_ENV: endpoint,
        contract.RENDEZVOUS_ID_ENV: names.rendezvous_id(owner.uid, attempt=attempt),
        contract.JOIN_TIMEOUT_SECONDS_ENV: str(max(1, int(policy.startup_deadline_seconds * JOIN_SHARE))),
        contract.PROGRESS_DEADLINE_SECONDS_ENV: str(
            choose_progress_deadline(policy, is_script=run.script is not None) or 0
        ),
        contract.GRACE_PERIOD_SECONDS_ENV: str(policy.grace_period_seconds),
        contract.STATUS_PORT_ENV: str(workers.status_port),
        contract.TERMINATION_LOG_ENV: contract.TERMINATION_LOG,
        **({contract.DATA_DIR_ENV: f"{contract.DATA_MOUNT}/{run.dataset.path}"} if run.dataset else {}),
        **build_code_variables(run),
        **build_first_weights_variables(run),
        contract.RUN_DIR_ENV: f"{contract.RUNS_MOUNT}/{owner.uid}",
        contract.SCRATCH_DIR_ENV: contract.SCRATCH_MOUNT,
        "HOME": contract.SCRATCH_MOUNT,
        "TMPDIR": contract.SCRATCH_MOUNT,
        **({} if workers.gpus_per_node else WITHOUT_GPUS),
    }
