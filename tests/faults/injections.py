"""How each fault of the cluster's side is brought about: the job that meets it, and what is done to its pods."""

import time
from collections.abc import Iterator
from typing import Any

from faults.injection import Injection
from faults.stage import LABEL, Inject, Object, Stage, complain, container, disrupt, end, run_and, wait
from faults.weights_injections import WEIGHTS

from oarlock_operator import names

GPU = "nvidia.com/gpu"


def _on(node: str, **workers: Any) -> Object:
    template = workers.pop("podTemplate", {})
    return {
        "workers": {
            "nodes": 1,
            "gpusPerNode": 0,
            **workers,
            "podTemplate": {"nodeSelector": {LABEL: node}, **template},
        }
    }


def _template(**template: Any) -> Object:
    return {"workers": {"nodes": 1, "gpusPerNode": 0, "processesPerNode": 1, "podTemplate": template}}


def _volume(**volume: Any) -> Object:
    return {"checkpoints": {"volume": {"size": "1Gi", "accessModes": ["ReadWriteMany"], **volume}}}


_MARS = {"key": "zone", "operator": "In", "values": ["mars"]}
_AFFINITY = {
    "nodeAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchExpressions": [_MARS]}]}
    }
}

SCHEDULING: dict[str, Injection] = {
    "gpus-short": Injection(job=_on("faults-small", gpusPerNode=8)),
    "cpus-short": Injection(job=_on("faults-small", resources={"cpu": 8})),
    "memory-short": Injection(job=_on("faults-small", resources={"memory": "64Gi"})),
    "selector-unmatched": Injection(job=_on("faults-nowhere")),
    "affinity-unmatched": Injection(job=_template(affinity=_AFFINITY)),
    "taint-untolerated": Injection(job=_on("faults-tainted")),
    "node-cordoned": Injection(job=_on("faults-cordoned")),
    "node-not-ready": Injection(job=_on("faults-silent")),
    "volume-elsewhere": Injection(job=_template(volumes=[{"name": "z", "mountPath": "/z", "claim": "zoned"}])),
    "claim-missing": Injection(job=_template(volumes=[{"name": "z", "mountPath": "/z", "claim": "nowhere"}])),
}


def _fail_provisioning(stage: Stage, name: str) -> None:
    path = stage.path("persistentvolumeclaims", f"{name}-checkpoints")
    claim = stage.scene.wait_for(lambda: _found(stage, path), "there is no claim")
    said = (
        'failed to provision volume with StorageClass "faults-slow": rpc error: code = ResourceExhausted desc = quota'
    )
    stage.complain({"kind": "PersistentVolumeClaim", **claim}, "ProvisioningFailed", said)


def _found(stage: Stage, path: str) -> Object | None:
    answer = stage.api.ask("GET", path)
    return answer.body if answer.ok else None


def _delete_claim(stage: Stage, pods: list[Object]) -> None:
    stage.api.delete(stage.path("persistentvolumeclaims", f"{_job_of(pods)}-checkpoints"))


def _lose_volume(stage: Stage, pods: list[Object]) -> None:
    """Remove the volume, until the volume controller has noticed."""
    path = stage.path("persistentvolumeclaims", f"{_job_of(pods)}-checkpoints")
    volume = f"/api/v1/persistentvolumes/{stage.api.get(path)['spec']['volumeName']}"

    def is_lost() -> bool:
        stage.api.ask("DELETE", volume)
        stage.api.ask(
            "PATCH", volume, {"metadata": {"finalizers": None}}
        )  # it is protected while a claim is bound to it
        return bool(stage.api.get(path)["status"].get("phase") == "Lost")

    stage.scene.wait_for(is_lost, "the volume stays")


def _job_of(pods: list[Object]) -> str:
    name: str = pods[0]["metadata"]["ownerReferences"][0]["name"]
    return name


VOLUMES: dict[str, Injection] = {
    "class-missing": Injection(job=_volume(storageClass="faults-missing")),
    "provisioning-fails": Injection(job=_volume(storageClass="faults-slow"), before=_fail_provisioning),
    "claim-of-one-node": Injection(
        job={"workers": {"nodes": 2, "gpusPerNode": 0}, **_volume(accessModes=["ReadWriteOnce"])}
    ),
    "claim-deleted": Injection(act=run_and(_delete_claim)),
    "volume-revoked": Injection(act=run_and(_lose_volume)),
    "mount-fails": Injection(
        act=complain(
            "FailedMount", 'MountVolume.SetUp failed for volume "pvc-1" : mount failed: access denied by server'
        )
    ),
    "volume-in-use": Injection(
        act=complain(
            "FailedAttachVolume",
            'Multi-Attach error for volume "pvc-1" Volume is already used by pod(s) other-0',
        )
    ),
    "secret-volume-missing": Injection(
        act=complain("FailedMount", 'MountVolume.SetUp failed for volume "keys" : secret "registry-keys" not found')
    ),
}

_PULL = 'rpc error: code = {code} desc = failed to pull and unpack image "r.example.com/mine:1": {said}'


def _pull(code: str, said: str) -> Inject:
    return wait("ErrImagePull", _PULL.format(code=code, said=said))


IMAGES: dict[str, Injection] = {
    "image-not-found": Injection(act=_pull("NotFound", "failed to resolve reference: r.example.com/mine:1: not found")),
    "image-unauthorised": Injection(act=_pull("Unknown", "failed to authorize: unexpected status: 401 Unauthorized")),
    "registry-unreachable": Injection(
        act=_pull("Unknown", 'failed to do request: Head "https://r.example.com": dial tcp: no such host')
    ),
    "registry-rate-limited": Injection(
        act=_pull("Unknown", "unexpected status code 429 Too Many Requests: toomanyrequests")
    ),
    "image-name-invalid": Injection(
        act=wait("InvalidImageName", 'Failed to apply default image tag "Mine:1": couldn\'t parse image reference')
    ),
    "image-wrong-platform": Injection(act=_pull("NotFound", "no match for platform in manifest: not found")),
    "pull-backed-off": Injection(
        act=lambda stage, pods: (
            complain("Failed", 'Failed to pull image "mine:1": manifest unknown')(stage, pods),
            wait("ImagePullBackOff", 'Back-off pulling image "mine:1"')(stage, pods),
        )[1]
    ),
}

CONTAINERS: dict[str, Injection] = {
    "secret-missing": Injection(act=wait("CreateContainerConfigError", 'secret "hub-token" not found')),
    "secret-key-missing": Injection(
        act=wait("CreateContainerConfigError", "couldn't find key token in Secret team/hub-token")
    ),
    "configmap-missing": Injection(act=wait("CreateContainerConfigError", 'configmap "settings" not found')),
    "image-runs-as-root": Injection(
        act=wait("CreateContainerConfigError", "container has runAsNonRoot and image will run as root")
    ),
    "image-without-python": Injection(
        act=wait("RunContainerError", 'exec: "python": executable file not found in $PATH: unknown')
    ),
    "gpu-driver-broken": Injection(
        act=wait("RunContainerError", "nvidia-container-cli: initialization error: nvml error: driver not loaded")
    ),
    "pod-network-fails": Injection(
        act=complain("FailedCreatePodSandBox", "failed to set up sandbox network: no IP addresses left in the pool")
    ),
    "start-error": Injection(act=end(exit_code=128, said="StartError")),
}


def _add(
    *, init: Object | None = None, beside: Object | None = None, trainer: Object, phase: str = "Pending"
) -> Inject:
    """Let the pod have a container that a webhook added: one that is started before the trainer's, or runs beside it."""

    def inject(stage: Stage, pods: list[Object]) -> None:
        added = {"name": "mesh", "image": "r.example.com/mesh:1", "imageID": "", "ready": False, "restartCount": 0}
        status: Object = {"phase": phase, "containerStatuses": container(trainer)}
        if init is not None:
            status["initContainerStatuses"] = [{**added, **init}]
        if beside is not None:
            status["containerStatuses"] += [{**added, **beside}]
        stage.write_status(pods[0], status)

    return inject


_INITIALISING = {"waiting": {"reason": "PodInitializing"}}
_FAILED = {"terminated": {"exitCode": 1, "reason": "Error", "message": "iptables: permission denied"}}
_SINCE = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}

ADDED: dict[str, Injection] = {
    "init-container-crashes": Injection(
        act=_add(
            init={
                "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}},
                "lastState": _FAILED,
            },
            trainer=_INITIALISING,
        )
    ),
    "init-container-without-image": Injection(
        act=_add(
            init={
                "state": {
                    "waiting": {
                        "reason": "ErrImagePull",
                        "message": _PULL.format(code="NotFound", said="not found").replace("mine", "mesh"),
                    }
                }
            },
            trainer=_INITIALISING,
        )
    ),
    "init-container-endless": Injection(act=_add(init={"state": _SINCE}, trainer=_INITIALISING)),
    "init-container-fails": Injection(act=_add(init={"state": _FAILED}, trainer=_INITIALISING, phase="Failed")),
    "sidecar-outlives-trainer": Injection(
        act=_add(
            beside={"state": _SINCE}, trainer={"terminated": {"exitCode": 137, "reason": "Error"}}, phase="Running"
        )
    ),
}


def _delete_pod(stage: Stage, pods: list[Object]) -> None:
    stage.api.delete(stage.path("pods", pods[0]["metadata"]["name"]))


def _silence_node(stage: Stage, pods: list[Object]) -> None:
    stage.alive.pop(pods[0]["spec"]["nodeName"])
    stage.beat(pods[0]["spec"]["nodeName"], ready=False)


def _remove_node(stage: Stage, pods: list[Object]) -> None:
    stage.alive.pop(pods[0]["spec"]["nodeName"])
    stage.api.delete(f"/api/v1/nodes/{pods[0]['spec']['nodeName']}")


PODS: dict[str, Injection] = {
    "pod-deleted": Injection(act=run_and(_delete_pod)),
    "evicted-memory": Injection(
        act=end(
            reason="Evicted",
            message="The node was low on resource: memory. Container trainer was using 9Gi, which exceeds its request of 2Gi.",
        )
    ),
    "evicted-disk": Injection(act=end(reason="Evicted", message="The node was low on resource: ephemeral-storage.")),
    "pod-disk-full": Injection(
        act=end(
            reason="Evicted", message="Pod ephemeral local storage usage exceeds the total limit of containers 1Gi."
        )
    ),
    "preempted": Injection(act=disrupt("PreemptionByScheduler", "preempting to accommodate a higher priority pod")),
    "drained": Injection(act=disrupt("EvictionByEvictionAPI", "Eviction API: evicting")),
    "out-of-memory": Injection(act=end(exit_code=137, said="OOMKilled")),
    "process-killed": Injection(act=end(exit_code=137, said="Error")),
    "exit-unexplained": Injection(act=end(exit_code=1, said="Error")),
    "node-full": Injection(
        act=end(reason="OutOfpods", message="Pod Node didn't have enough resource: pods, requested: 1, used: 110")
    ),
    "devices-unavailable": Injection(
        act=end(
            reason="UnexpectedAdmissionError",
            message="Allocate failed due to requested number of devices unavailable for nvidia.com/gpu",
        )
    ),
    "node-shutdown": Injection(
        act=end(reason="Terminated", message="Pod was terminated in response to imminent node shutdown.")
    ),
    "node-lost": Injection(job=_on("faults-lost"), act=run_and(_silence_node)),
    "node-deleted": Injection(job=_on("faults-gone"), act=run_and(_remove_node)),
}


def _set_clock(stage: Stage, pods: list[Object]) -> None:
    """Let the pod have started in three hours, by the clock of its node."""
    ahead = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3 * 3600))
    stage.write_status(pods[0], {"containerStatuses": container({"running": {"startedAt": ahead}})})


def _delete_service(stage: Stage, pods: list[Object]) -> None:
    [service] = [
        item["metadata"]["name"]
        for item in stage.api.get(stage.path("services"))["items"]
        if item["metadata"]["ownerReferences"][0]["name"] == _job_of(pods)
    ]
    stage.api.delete(stage.path("services", service))


def _edit_run(stage: Stage, pods: list[Object]) -> None:
    path = f"/apis/oarlock.dev/v1alpha1/namespaces/{stage.scene.namespace}/trainingjobs/{_job_of(pods)}/status"
    stage.api.patch(path, {"status": {"run": {"workers": "edited"}}})


def _edit_spec(stage: Stage, pods: list[Object]) -> None:
    stage.scene.patch_job({"recipe": {"epochs": 3}}, name=_job_of(pods))


def _take_name(stage: Stage, name: str) -> None:
    """Let a stranger have the name of a pod before its job may have it."""
    uid = stage.scene.get("tj", name)["metadata"]["uid"]
    pod = names.worker_pod_name(name, uid, attempt=0, rank=0)
    spec = {"containers": [{"name": "x", "image": "none"}], "nodeSelector": {"nowhere": "true"}}
    stage.make(stage.path("pods"), {"metadata": {"name": pod}, "spec": spec})
    stage.scene.patch_job({"runPolicy": {"suspend": False}}, name=name)


API: dict[str, Injection] = {
    "quota-of-pods": Injection(job=_template(priorityClassName="faults-low")),
    "quota-of-storage": Injection(job=_volume(storageClass="faults-quota", size="5Gi")),
    "limit-range": Injection(job=_volume(size="100Gi")),
    "webhook-denies": Injection(),
    "webhook-down": Injection(),
    "priority-class-missing": Injection(job=_template(priorityClassName="faults-unknown")),
    "service-account-missing": Injection(job=_template(serviceAccountName="nobody")),
    "api-throttled": Injection(),
    "name-taken": Injection(job={"runPolicy": {"suspend": True}}, before=_take_name),
    "service-deleted": Injection(job={"workers": {"nodes": 2, "gpusPerNode": 0}}, act=run_and(_delete_service)),
    "node-clock-wrong": Injection(act=run_and(_set_clock)),
    "run-edited": Injection(act=run_and(_edit_run)),
    "spec-edited": Injection(act=run_and(_edit_spec)),
    "trainer-silent": Injection(act=run_and(lambda _stage, _pods: None)),
}

DATA: dict[str, Injection] = {
    "dataset-missing": Injection(job={"dataset": {"name": "nowhere"}}),
    "dataset-failed": Injection(job={"dataset": {"name": "broken"}}),
    "dataset-deleted": Injection(job={"dataset": {"name": "leaving"}}),
}

INJECTIONS = {**SCHEDULING, **VOLUMES, **IMAGES, **CONTAINERS, **ADDED, **PODS, **API, **DATA, **WEIGHTS}


def count_pods(injection: Injection) -> int:
    """Return how many pods the job has."""
    nodes: int = injection.job.get("workers", {}).get("nodes", 1)
    return nodes


def names_to_act() -> Iterator[str]:
    """Yield the faults that wait for the pods of their job."""
    yield from (name for name, injection in INJECTIONS.items() if injection.act)
