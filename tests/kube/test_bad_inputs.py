"""Data and models that cannot be trained, tried for real on a real API server: file, shapes and remedy are named, and no GPU is taken."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from importing.made_sources import encode, make_pixels, write_class_folders, write_csv
from kube.operator_process import OperatorProcess
from kube.scene import Object, Scene
from kube_node.node_process import NodeProcess

from control_plane.server import ControlPlane
from oarlock_operator import names

pytestmark = [pytest.mark.kube, pytest.mark.train]

IMPORT_SECONDS = 300.0


@pytest.fixture
def node(control_plane: ControlPlane, tmp_path: Path) -> Iterator[NodeProcess]:
    with NodeProcess(control_plane.kubeconfig, tmp_path / "node", name="importing-node") as running:
        yield running
        running.check()


def write_nothing(root: Path) -> None:
    assert list(root.iterdir()) == []


def write_one_class(root: Path) -> None:
    write_class_folders(root, classes=("cat",))


def write_truncated(root: Path) -> None:
    write_class_folders(root)
    for path in root.rglob("*.png"):
        path.write_bytes(path.read_bytes()[:40])


def write_one_truncated(root: Path) -> None:
    write_class_folders(root, each=20)
    whole = encode(make_pixels(7, height=64, width=64))
    (root / "cat" / "torn.png").write_bytes(whole[: len(whole) // 2])


def write_wrong_labels(root: Path) -> None:
    write_csv(root / "digits.csv", [[0, 9, 9, 0, "cat"], [1, 2, 3, 4, ""], [5, 6, 7, 8, "dog"]])


FOLDERS: Object = {"folders": {}}
INPUTS: dict[str, tuple[Callable[[Path], None], Object, str, tuple[str, ...]]] = {
    "empty": (write_nothing, FOLDERS, "Failed", ("holds no class folders", "Remedy: name a folder")),
    "one-class": (write_one_class, FOLDERS, "Failed", ("a single class, 'cat'", "Remedy: ")),
    "all-truncated": (write_truncated, FOLDERS, "Failed", ("000.png", "Remedy: ")),
    "one-truncated": (write_one_truncated, FOLDERS, "Ready", ("cat/torn.png",)),
    "wrong-labels": (write_wrong_labels, {"csv": {}}, "Failed", ("digits.csv", "Remedy: ")),
}


def provide(scene: Scene, name: str, write: Callable[[Path], None]) -> None:
    """Write files to a claim of the user's own."""
    resources = {"requests": {"storage": "1Gi"}}
    spec = {"accessModes": ["ReadWriteMany"], "resources": resources}
    scene.apply({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": spec})
    volume = scene.wait_for(lambda: scene.get("pvc", name)["spec"].get("volumeName"), "the claim gets no volume")
    write(Path(scene.control_plane.api.get(f"/api/v1/persistentvolumes/{volume}")["spec"]["hostPath"]["path"]))


def make_dataset(name: str, layout: Object) -> Object:
    spec = {"source": {"volume": {"claim": f"{name}-files"}}, "layout": layout, "storage": {"size": "1Gi"}}
    return {"apiVersion": "oarlock.dev/v1alpha1", "kind": "Dataset", "metadata": {"name": name}, "spec": spec}


NARROW_MODEL = """
from torch import nn

def build(outputs):
    return nn.Sequential(nn.Flatten(), nn.Linear(100, outputs))
"""


def make_job(name: str, dataset: str) -> Object:
    spec = {
        "dataset": {"name": dataset},
        "model": {"python": {"module": "narrow", "factory": "build"}},
        "code": {"configMap": name},
        "recipe": {"epochs": 1},
        "workers": {"gpusPerNode": 1},
    }
    return {"apiVersion": "oarlock.dev/v1alpha1", "kind": "TrainingJob", "metadata": {"name": name}, "spec": spec}


def test_culprit_and_remedy_are_named_when_data_or_model_cannot_be_trained(
    scene: Scene, operator: OperatorProcess, node: NodeProcess
) -> None:
    for name, (write, _, _, _) in INPUTS.items():
        provide(scene, f"{name}-files", write)
    scene.apply(*(make_dataset(name, layout) for name, (_, layout, _, _) in INPUTS.items()))

    for name, (_, _, phase, parts) in INPUTS.items():
        status = scene.wait_for_phase(phase, name=name, kind="datasets", seconds=IMPORT_SECONDS)
        said = status["message"] + " ".join(status.get("firstRejects", []))
        assert [part for part in parts if part not in said] == [], (name, said)
        assert status["attempt"] == 0
    assert scene.status("one-truncated", kind="datasets")["rejected"] == 1

    code = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "narrow"},
        "data": {"narrow.py": NARROW_MODEL},
    }
    scene.apply(code, make_job("narrow", "one-truncated"))

    message = scene.wait_for_phase("Invalid", name="narrow", seconds=IMPORT_SECONDS)["message"]
    parts = ("spec.model must fit", "samples of shape [N, ", "delete pod narrow-")
    assert [part for part in parts if part not in message] == [], message
    assert scene.pods() == []
    (pod,) = scene.pods(names.CHECK_ROLE)
    assert "nvidia.com/gpu" not in pod["spec"]["containers"][0]["resources"]["limits"]
    assert "Traceback" not in operator.read_log()
