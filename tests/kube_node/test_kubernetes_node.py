"""The process node on a real control plane: pods run, claims are bound, deletions end, crashes are noticed."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from kube_node.folder_provisioner import PROVISIONER
from kube_node.node_process import NodeProcess
from local.local_scene import find_processes_of, make_claim, make_pod

from control_plane.server import ControlPlane

pytestmark = pytest.mark.kube

Object = dict[str, Any]


@pytest.fixture(scope="module")
def control_plane(request: pytest.FixtureRequest) -> Iterator[ControlPlane]:
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        running = ControlPlane().start()
    yield running
    running.check()
    running.stop()


@pytest.fixture(scope="module")
def node(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    with NodeProcess(control_plane.kubeconfig, tmp_path_factory.mktemp("node")) as running:
        yield running
        running.check()


@pytest.fixture
def namespace(control_plane: ControlPlane, request: pytest.FixtureRequest) -> str:
    return control_plane.create_namespace(request.node.name.replace("_", "-")[:60].rstrip("-"))


def create(control_plane: ControlPlane, namespace: str, item: Object) -> Object:
    plural = "pods" if item["kind"] == "Pod" else "persistentvolumeclaims"
    item = {**item, "metadata": {**item["metadata"], "namespace": namespace}}
    created: Object = control_plane.api.create(f"/api/v1/namespaces/{namespace}/{plural}", item)
    return created


def wait_for_pod(
    control_plane: ControlPlane, pod: Object, holds: Callable[[Object], bool], seconds: float = 150
) -> Object:
    path = f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods/{pod['metadata']['name']}"
    deadline = time.monotonic() + seconds
    while True:
        found: Object = control_plane.api.get(path)
        if holds(found):
            return found
        assert time.monotonic() < deadline, found["status"]
        time.sleep(0.05)


def wait_until(holds: Callable[[], bool], *, seconds: float = 150) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.05)


def is_running(pod: Object) -> bool:
    return bool(pod["status"]["phase"] == "Running")


def test_pod_runs_with_its_claim_when_the_scheduler_binds_it(
    control_plane: ControlPlane, node: NodeProcess, namespace: str
) -> None:
    volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": "digits"}}]
    env = [
        {"name": "OARLOCK_DATA_DIR", "value": "/oarlock/data"},
        {"name": "OARLOCK_TERMINATION_LOG", "value": "/dev/termination-log"},
    ]
    script = "echo hello; echo 5 >$OARLOCK_DATA_DIR/x; echo -n fine >$OARLOCK_TERMINATION_LOG; exit 75"
    container = {"volumeMounts": [{"name": "data", "mountPath": "/oarlock/data"}]}
    create(control_plane, namespace, make_claim("digits"))
    pod = create(control_plane, namespace, make_pod(script, env=env, volumes=volumes, container=container))
    ended = wait_for_pod(control_plane, pod, lambda pod: pod["status"]["phase"] == "Failed")

    state = ended["status"]["containerStatuses"][0]["state"]["terminated"]
    assert (state["exitCode"], state["reason"], state["message"]) == (75, "Error", "fine")
    assert ended["status"]["podIP"].startswith("127.")
    assert node.read_pod_log(namespace, "pod") == "hello\n"
    assert [path.read_text() for path in node.folder.glob(f"volumes/{namespace}/*/x")] == ["5\n"]


def test_claim_is_bound_when_its_first_consumer_is_scheduled(
    control_plane: ControlPlane, node: NodeProcess, namespace: str
) -> None:
    storage_class = {
        "metadata": {"name": namespace},
        "provisioner": PROVISIONER,
        "volumeBindingMode": "WaitForFirstConsumer",
    }
    control_plane.api.create("/apis/storage.k8s.io/v1/storageclasses", storage_class)
    claim = make_claim("late")
    create(control_plane, namespace, {**claim, "spec": {**claim["spec"], "storageClassName": namespace}})
    path = f"/api/v1/namespaces/{namespace}/persistentvolumeclaims/late"
    time.sleep(1)
    assert control_plane.api.get(path)["status"]["phase"] == "Pending"
    volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": "late"}}]
    pod = create(control_plane, namespace, make_pod("true", volumes=volumes))

    wait_for_pod(control_plane, pod, lambda pod: pod["status"]["phase"] == "Succeeded")
    assert control_plane.api.get(path)["status"]["phase"] == "Bound"


def test_folder_goes_with_its_claim_when_nobody_uses_it(
    control_plane: ControlPlane, node: NodeProcess, namespace: str
) -> None:
    create(control_plane, namespace, make_claim("digits"))
    wait_until(lambda: bool(list(node.folder.glob(f"volumes/{namespace}/digits-*"))))
    path = f"/api/v1/namespaces/{namespace}/persistentvolumeclaims/digits"
    wait_until(lambda: control_plane.api.get(path)["status"]["phase"] == "Bound")
    control_plane.api.delete(path)

    wait_until(lambda: not list(node.folder.glob(f"volumes/{namespace}/digits-*")))


def test_pod_ends_in_order_and_goes_when_it_is_deleted(
    control_plane: ControlPlane, node: NodeProcess, namespace: str
) -> None:
    script = "trap 'echo saved; exit 75' TERM; echo ready; while :; do sleep 0.05; done"
    pod = create(control_plane, namespace, make_pod(script))
    wait_for_pod(control_plane, pod, is_running)
    wait_until(lambda: "ready" in node.read_pod_log(namespace, "pod"))
    path = f"/api/v1/namespaces/{namespace}/pods/pod"
    control_plane.api.delete(path)
    wait_until(lambda: not control_plane.api.exists(path))

    assert node.read_pod_log(namespace, "pod") == "ready\nsaved\n"
    assert not find_processes_of(pod["metadata"]["uid"])


def test_pods_go_on_and_are_reported_when_the_api_server_was_away(
    control_plane: ControlPlane, node: NodeProcess, namespace: str
) -> None:
    pod = create(control_plane, namespace, make_pod("sleep 1.5; exit 3"))
    wait_for_pod(control_plane, pod, is_running)
    control_plane.restart_apiserver()
    ended = wait_for_pod(control_plane, pod, lambda pod: pod["status"]["phase"] == "Failed")

    assert ended["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 3


def test_pod_is_lost_and_nothing_survives_when_the_node_crashes(
    control_plane: ControlPlane, tmp_path: Path, namespace: str
) -> None:
    with NodeProcess(control_plane.kubeconfig, tmp_path, name="crashing") as node:
        selector = {"nodeSelector": {"kubernetes.io/hostname": "crashing"}}
        pod = create(control_plane, namespace, make_pod("setsid sleep 1000 & sleep 1000", **selector))
        wait_for_pod(control_plane, pod, is_running)
        assert node.pid
        psutil.Process(node.pid).kill()
        wait_until(lambda: not find_processes_of(pod["metadata"]["uid"]), seconds=60)
        node.kill()
        node.start()
        lost = wait_for_pod(control_plane, pod, lambda pod: pod["status"]["phase"] == "Failed")

        assert lost["status"]["reason"] == "NodeLost"
