"""The chart as an administrator installs it, and the operator under the rights that it grants. One namespace: see test_rights."""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from chart.releases import RELEASE, install, uninstall
from kube.operator_process import OperatorProcess
from kube.paper_node import PaperNode
from kube.scene import Object, Scene, make_facts, make_job
from kube_node.folder_provisioner import PROVISIONER

from control_plane.server import ControlPlane
from oarlock_operator import names

pytestmark = pytest.mark.kube

GPU_EXAMPLE = Path(__file__).parents[2] / "examples" / "gpu-cluster"
GPU_NODE = {"node.kubernetes.io/instance-type": "gpu-8x"}


@contextlib.contextmanager
def installed(control_plane: ControlPlane, namespace: str, folder: Path) -> Iterator[OperatorProcess]:
    """Install the chart, and run the operator with what it grants."""
    done = install(control_plane, namespace=namespace)
    assert done.returncode == 0, done.stderr
    try:
        account = control_plane.kubeconfig_for_service_account(namespace, RELEASE)
        election = {"LEASE_NAMESPACE": namespace, "LEASE_NAME": RELEASE}
        with OperatorProcess(account, folder, settings=election) as operator:
            yield operator
            operator.check()
            assert "Traceback" not in operator.read_log()
            assert find_forbidden(operator) == []
    finally:
        gone = uninstall(control_plane, namespace=namespace)
    assert gone.returncode == 0, gone.stderr


def find_forbidden(operator: OperatorProcess) -> list[str]:
    """Return the resources that the server refused, as it named them."""
    return re.findall(r'forbidden: User .*? cannot \w+ resource "([\w/]+)"', operator.read_log())


def make_scene(control_plane: ControlPlane, name: str, folder: Path) -> Scene:
    return Scene(control_plane, control_plane.create_namespace(name), folder)


def succeed(scene: Scene) -> None:
    """Bring an import and a job of two nodes to their end."""
    scene.import_data()
    scene.apply(make_job(nodes=2))
    pods = scene.wait_for_pods(2)
    for pod in pods:
        scene.run_pod(pod)
    for pod in pods:
        scene.end_pod(pod, step=94, steps=94, epoch=2.0, metrics={"validation/accuracy": 0.98})
    scene.wait_for_phase("Succeeded")
    assert scene.get("service", names.service_name("lenet", scene.get("tj", "lenet")["metadata"]["uid"]))
    assert "Succeeded" in scene.kubectl("describe", "tj", "lenet").split("Events:")[1]


def test_operator_of_all_namespaces_works_with_what_the_chart_grants(
    control_plane: ControlPlane, namespace: str, paper_node: PaperNode, tmp_path: Path
) -> None:
    scenes = [make_scene(control_plane, name, tmp_path) for name in ("tenant-one", "tenant-two")]

    with installed(control_plane, namespace, tmp_path / "operator"):
        for scene in scenes:
            succeed(scene)


def test_example_for_gpus_says_what_the_cluster_lacks_and_waits_in_the_queue(
    control_plane: ControlPlane, namespace: str, paper_node: PaperNode, scene: Scene, tmp_path: Path
) -> None:
    provide_shared_class(scene)
    scene.kubectl("label", "node", paper_node.name, *(f"{key}={value}" for key, value in GPU_NODE.items()))
    with installed(control_plane, namespace, tmp_path / "operator"):
        scene.kubectl("apply", "-f", str(GPU_EXAMPLE))
        for kind, name in (("datasets", "products"), ("trainingjobs", "products-resnet")):
            wait_for_message(scene, name, '"raw-products" not found', kind=kind)
        assert scene.status("products-resnet")["phase"] == "WaitingForData"
        import_products(scene)
        wait_for_message(scene, "products-resnet", "16 nvidia.com/gpu")

    assert scene.status("products-resnet")["phase"] == "Queued"
    assert scene.pods() == []


def wait_for_message(scene: Scene, name: str, says: str, *, kind: str = "trainingjobs") -> None:
    scene.wait_for(lambda: says in scene.status(name, kind=kind).get("message", ""), f"{name} does not say {says}")


def provide_shared_class(scene: Scene) -> None:
    metadata = {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "shared"}}
    scene.apply({**metadata, "provisioner": PROVISIONER})


def import_products(scene: Scene) -> None:
    """Bring the missing claim, and end the import that waits for it."""
    claim = {"accessModes": ["ReadOnlyMany"], "resources": {"requests": {"storage": "1Gi"}}}
    scene.apply(
        {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "raw-products"}, "spec": claim}
    )
    pod = scene.wait_for_pods(role=names.IMPORT_ROLE)[0]
    scene.run_pod(pod)
    scene.end_pod(pod, dataset=make_product_facts(pod))
    scene.wait_for_phase("Ready", name="products", kind="datasets")


def make_product_facts(pod: Object) -> Object:
    uid = pod["metadata"]["ownerReferences"][0]["uid"]
    folder = names.data_folder("products", uid)
    counts = {"train": 85_000, "validation": 10_000, "test": 5_000}
    return {**make_facts(pod), "path": f"{folder}/abc123", "counts": counts, "sampleShape": [64, 64, 3]}
