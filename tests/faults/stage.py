"""One namespace full of faults: what administrators, kubelets, provisioners and node controllers do to it."""

import base64
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kube.scene import Scene, make_job

from oarlock_operator import names

Object = dict[str, Any]

LABEL = "faults"
_GIB = 2**30


@dataclass(slots=True)
class Stage:
    """The namespace, with nodes of its own."""

    scene: Scene
    injected: dict[str, float] = field(default_factory=dict)
    """When the fault of a row was there, by its name."""
    alive: dict[str, int] = field(default_factory=dict)
    """Nodes that say that they live, with their GPUs."""

    @property
    def api(self) -> Any:
        return self.scene.control_plane.api

    def path(self, plural: str, name: str = "") -> str:
        return f"/api/v1/namespaces/{self.scene.namespace}/{plural}" + (f"/{name}" if name else "")

    # The administrator.

    def make(self, path: str, body: Object) -> Object:
        made: Object = self.api.create(path, body)
        return made

    def add_node(self, name: str, *, ready: bool = True, gpus: int = 0, **spec: Any) -> None:
        """Register a node that only jobs use which select it."""
        self.make("/api/v1/nodes", {"metadata": {"name": name, "labels": {LABEL: name}}, "spec": spec})
        self.beat(name, ready=ready, gpus=gpus)
        if ready:
            self.alive[name] = gpus

    def beat(self, name: str, *, ready: bool = True, gpus: int = 0) -> None:
        """Say of a node how it is, as its kubelet does."""
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        condition = {
            "type": "Ready",
            "status": "True" if ready else "Unknown",
            "reason": "KubeletReady" if ready else "NodeStatusUnknown",
            "lastHeartbeatTime": now,
            "lastTransitionTime": now,
        }
        amounts = {"cpu": "4", "memory": str(8 * _GIB), "pods": "20", "nvidia.com/gpu": str(gpus)}
        self.api.ask(
            "PATCH",
            f"/api/v1/nodes/{name}/status",
            {"status": {"conditions": [condition], "capacity": amounts, "allocatable": amounts}},
        )

    def apply_job(self, name: str, **spec: Any) -> None:
        path = f"/apis/oarlock.dev/v1alpha1/namespaces/{self.scene.namespace}/trainingjobs"
        self.make(path, make_job(name, **spec))

    def refuse_pods(self, job: str, url: str, authority: Path) -> None:
        """Have a webhook asked about the pods of one job."""
        client = {"url": url, "caBundle": base64.b64encode(authority.read_bytes()).decode()}
        hook = {
            "name": f"{job}.example.com",
            "clientConfig": client,
            "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}],
            "objectSelector": {"matchLabels": {names.JOB_LABEL: job}},
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
            "failurePolicy": "Fail",
            "timeoutSeconds": 5,
        }
        path = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
        self.make(path, {"metadata": {"name": job}, "webhooks": [hook]})

    # The kubelet and its like.

    def pods_by_job(self) -> dict[str, list[Object]]:
        found: dict[str, list[Object]] = {}
        for pod in self.scene.pods():
            found.setdefault(pod["metadata"]["labels"][names.JOB_LABEL], []).append(pod)
        return found

    def write_status(self, pod: Object, status: Object) -> None:
        self.api.patch(f"{self.path('pods', pod['metadata']['name'])}/status", {"status": status})

    def complain(self, about: Object, reason: str, message: str) -> None:
        """Write a warning Event."""
        metadata = about["metadata"]
        reference = {"kind": about["kind"], "namespace": metadata["namespace"], "name": metadata["name"]}
        event = {
            "metadata": {"generateName": f"{metadata['name'][:40]}.", "namespace": metadata["namespace"]},
            "involvedObject": {**reference, "uid": metadata["uid"]},
            "type": "Warning",
            "reason": reason,
            "message": message,
        }
        self.make(self.path("events"), event)

    def statuses(self) -> dict[str, Object]:
        path = f"/apis/oarlock.dev/v1alpha1/namespaces/{self.scene.namespace}/trainingjobs"
        return {item["metadata"]["name"]: item.get("status") or {} for item in self.api.get(path)["items"]}


Inject = Callable[[Stage, list[Object]], None]


def container(state: Object) -> list[Object]:
    return [
        {
            "name": names.TRAINER_CONTAINER,
            "image": "none",
            "imageID": "",
            "ready": False,
            "restartCount": 0,
            "state": state,
        }
    ]


def wait(reason: str, message: str = "") -> Inject:
    """Let the container wait, as kubelets say it."""

    def inject(stage: Stage, pods: list[Object]) -> None:
        waiting = {"waiting": {"reason": reason, "message": message}}
        stage.write_status(pods[0], {"phase": "Pending", "containerStatuses": container(waiting)})

    return inject


def complain(reason: str, message: str) -> Inject:
    """Let a kubelet or an attach controller complain of the pod while its container is created."""

    def inject(stage: Stage, pods: list[Object]) -> None:
        wait("ContainerCreating")(stage, pods)
        stage.complain({"kind": "Pod", **pods[0]}, reason, message)

    return inject


def end(*, reason: str = "", message: str = "", exit_code: int | None = None, said: str = "") -> Inject:
    """Let the pod fail: `reason` and `message` are the pod's, `said` and `exit_code` the container's."""

    def inject(stage: Stage, pods: list[Object]) -> None:
        stage.scene.run_pod(pods[0])
        status: Object = {"phase": "Failed", "reason": reason, "message": message}
        if exit_code is not None:
            ended = {"exitCode": exit_code, "reason": said, "finishedAt": pods[0]["metadata"]["creationTimestamp"]}
            status["containerStatuses"] = container({"terminated": ended})
        stage.write_status(pods[0], {name: value for name, value in status.items() if value})

    return inject


def disrupt(reason: str, message: str) -> Inject:
    """Let the pod be removed, with the condition that newer clusters give it before."""

    def inject(stage: Stage, pods: list[Object]) -> None:
        stage.scene.run_pod(pods[0])
        condition = {"type": "DisruptionTarget", "status": "True", "reason": reason, "message": message}
        stage.write_status(pods[0], {"conditions": [condition]})
        stage.api.ask("DELETE", stage.path("pods", pods[0]["metadata"]["name"]))

    return inject


def run_and(then: Inject) -> Inject:
    def inject(stage: Stage, pods: list[Object]) -> None:
        for pod in pods:
            stage.scene.run_pod(pod)
        then(stage, pods)

    return inject


def dump(statuses: dict[str, Object], name: str) -> str:
    """Return of a status what a row speaks of."""
    status = statuses.get(name, {})
    parts = {key: status.get(key) for key in ("phase", "reason", "message", "conditions", "failures")}
    return json.dumps(parts, indent=1)
