"""The harness itself: a control plane that comes up, judges as Kubernetes does, and leaves nothing behind."""

import http.client
import json
import os
import signal
import ssl
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from control_plane import run_folders, tools
from control_plane.api import Api
from control_plane.binaries import KUBECONFIG_ENV
from control_plane.components import APISERVER, ETCD
from control_plane.errors import ControlPlaneError
from control_plane.server import ControlPlane

pytestmark = [
    pytest.mark.kube,
    pytest.mark.skipif(
        KUBECONFIG_ENV in os.environ, reason="NOT RUN: the components of an existing cluster are not ours"
    ),
]

_OWNER_SCRIPT = """
import json, time
from control_plane.progress import Progress
from control_plane.server import ControlPlane
control_plane = ControlPlane().start()
print(json.dumps({"pids": list(control_plane.pids.values()), "folder": str(control_plane.folder)}), flush=True)
time.sleep(600)
"""


@pytest.fixture(scope="module")
def control_plane(request: pytest.FixtureRequest) -> Iterator[ControlPlane]:
    # A first build takes minutes: its progress must get past pytest's capture.
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        running = ControlPlane().start()
    yield running
    running.check()
    running.stop()


@pytest.fixture
def namespace(control_plane: ControlPlane, request: pytest.FixtureRequest) -> str:
    return control_plane.create_namespace(request.node.name.replace("_", "-")[:60].rstrip("-"))


def test_kubectl_lists_namespaces_when_given_the_kubeconfig(control_plane: ControlPlane) -> None:
    command = [
        str(tools.kubectl_path()),
        "--kubeconfig",
        str(control_plane.kubeconfig),
        "get",
        "namespaces",
        "-o",
        "name",
    ]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)

    assert "namespace/kube-system" in answer.stdout.split()


def test_helm_reaches_the_cluster_when_given_the_kubeconfig(control_plane: ControlPlane) -> None:
    command = [str(tools.helm_path()), "--kubeconfig", str(control_plane.kubeconfig), "list", "--all-namespaces"]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)

    assert answer.stdout.startswith("NAME")


def test_version_and_features_are_known_when_started(control_plane: ControlPlane) -> None:
    major, minor, *_ = control_plane.version.split(".")

    assert major == "1"
    assert ("policyV1" in control_plane.features) == (int(minor) >= 21)
    assert ("cel" in control_plane.features) == (int(minor) >= 25)


def test_owned_object_is_collected_when_its_owner_is_deleted(control_plane: ControlPlane, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    owner = control_plane.api.create(path, {"metadata": {"name": "owner"}})
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"]}
    control_plane.api.create(path, {"metadata": {"name": "child", "ownerReferences": [reference]}})
    control_plane.api.delete(f"{path}/owner")

    _wait_until(lambda: not control_plane.api.exists(f"{path}/child"))


def test_custom_object_is_an_owner_from_the_start_when_its_crd_is_given() -> None:
    crd = _build_crd("owners", "Owner")
    with ControlPlane(crds=[crd]) as control_plane:
        owner = control_plane.api.create(
            "/apis/test.oarlock.dev/v1/namespaces/default/owners",
            {"apiVersion": "test.oarlock.dev/v1", "kind": "Owner", "metadata": {"name": "owner"}},
        )
        reference = {
            "apiVersion": "test.oarlock.dev/v1",
            "kind": "Owner",
            "name": "owner",
            "uid": owner["metadata"]["uid"],
        }
        child = {"metadata": {"name": "child", "ownerReferences": [reference]}}
        control_plane.api.create("/api/v1/namespaces/default/configmaps", child)
        control_plane.api.delete("/apis/test.oarlock.dev/v1/namespaces/default/owners/owner")

        _wait_until(lambda: not control_plane.api.exists("/api/v1/namespaces/default/configmaps/child"), seconds=60)


def test_scheduler_binds_a_pod_when_a_node_is_ready(control_plane: ControlPlane, namespace: str) -> None:
    control_plane.api.create("/api/v1/nodes", _build_node("binding"))
    pods = f"/api/v1/namespaces/{namespace}/pods"
    control_plane.api.create(pods, _build_pod("binding"))

    _wait_until(lambda: control_plane.api.get(f"{pods}/pod")["spec"].get("nodeName") == "binding")


def test_service_account_is_denied_when_nothing_is_bound_to_it(control_plane: ControlPlane, namespace: str) -> None:
    api = Api.from_kubeconfig(control_plane.kubeconfig_for_service_account(namespace, "default"))

    assert api.ask("GET", f"/api/v1/namespaces/{namespace}/pods").status == 403


def test_service_account_is_allowed_when_a_role_is_bound_to_it(control_plane: ControlPlane, namespace: str) -> None:
    binding = {
        "metadata": {"name": "view"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
        "subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": namespace}],
    }
    control_plane.api.create(f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/rolebindings", binding)
    api = Api.from_kubeconfig(control_plane.kubeconfig_for_service_account(namespace, "default"))

    _wait_until(lambda: api.exists(f"/api/v1/namespaces/{namespace}/pods"))


def test_request_is_refused_when_nobody_is_logged_in(control_plane: ControlPlane) -> None:
    authority = control_plane.folder / "certificates" / "ca.crt"
    anonymous = Api(control_plane.api.server, tls=ssl.create_default_context(cafile=authority))

    assert anonymous.ask("GET", "/version").status == 401


def test_data_is_kept_when_the_apiserver_restarts(control_plane: ControlPlane, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    control_plane.api.create(path, {"metadata": {"name": "kept"}})
    control_plane.stop_apiserver()
    with pytest.raises(OSError, match="refused"):
        control_plane.api.get(f"{path}/kept")
    control_plane.start_apiserver()

    assert control_plane.api.exists(f"{path}/kept")


def test_requests_hang_when_the_apiserver_is_paused(control_plane: ControlPlane) -> None:
    control_plane.pause(APISERVER)
    try:
        with pytest.raises(TimeoutError):
            control_plane.api.ask("GET", "/version", timeout=0.5)
    finally:
        control_plane.resume(APISERVER)

    assert control_plane.api.exists("/version")


def test_watch_is_cut_off_when_the_network_drops(control_plane: ControlPlane) -> None:
    with control_plane.flaky_network() as (network, kubeconfig), _open_watch(kubeconfig) as watch:
        watch.readline()

        assert network.drop_connections() == 1
        with pytest.raises((OSError, http.client.HTTPException)):
            watch.read()
        assert Api.from_kubeconfig(kubeconfig).exists("/version")


def test_watch_falls_silent_and_goes_on_when_the_network_stalls(control_plane: ControlPlane) -> None:
    with control_plane.flaky_network() as (network, kubeconfig), _open_watch(kubeconfig) as watch:
        watch.readline()
        network.stall()
        with pytest.raises(TimeoutError):
            Api.from_kubeconfig(kubeconfig).ask("GET", "/version", timeout=0.5)
        network.restore()

        assert Api.from_kubeconfig(kubeconfig).exists("/version")
        assert watch.readline()


def test_clients_are_refused_when_the_network_refuses_them(control_plane: ControlPlane) -> None:
    with control_plane.flaky_network() as (network, kubeconfig):
        api = Api.from_kubeconfig(kubeconfig)
        network.refuse()
        with pytest.raises(OSError, match=r"reset|EOF|closed"):
            api.get("/version")
        network.restore()

        assert api.exists("/version")


def test_error_shows_the_log_when_a_component_dies() -> None:
    with ControlPlane(components=[ETCD]) as control_plane:
        os.kill(control_plane.pids[ETCD], signal.SIGKILL)
        time.sleep(0.2)
        with pytest.raises(ControlPlaneError, match=r"etcd ended with signal SIGKILL\.\nThe last lines of"):
            control_plane.check()


def test_error_shows_the_log_when_a_component_does_not_come_up() -> None:
    with pytest.raises(ControlPlaneError, match=r"(?s)kube-apiserver ended with exit status 1.*no-such-flag"):
        ControlPlane(flags={APISERVER: ["--no-such-flag"]}).start()

    assert not [folder for folder in run_folders.find_all() if run_folders._is_dead(folder)]


def test_nothing_is_left_behind_when_stopped() -> None:
    control_plane = ControlPlane().start()
    pids, folder = control_plane.pids, control_plane.folder
    control_plane.stop()

    assert len(pids) >= 2
    assert not [pid for pid in pids.values() if psutil.pid_exists(pid)]
    assert not folder.exists()


def test_nothing_is_left_behind_when_the_owner_is_killed() -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    command = [sys.executable, "-c", _OWNER_SCRIPT]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as owner:
        assert owner.stdout
        state = json.loads(owner.stdout.readline())
        folder = Path(state["folder"])
        assert folder not in run_folders.sweep_dead()
        assert folder.exists()
        owner.kill()

    _wait_until(lambda: not any(psutil.pid_exists(pid) for pid in state["pids"]), seconds=60)
    # The next start sweeps the folder: one of another test process may have done so already.
    run_folders.sweep_dead()
    assert not folder.exists()


def test_running_control_plane_survives_when_another_run_sweeps(control_plane: ControlPlane) -> None:
    assert control_plane.folder not in run_folders.sweep_dead()
    assert control_plane.folder.exists()


def test_components_live_on_when_the_thread_that_started_them_ends() -> None:
    """The kernel's parent-death signal watches the thread that forked, not the process."""
    control_plane = ControlPlane(components=[ETCD])
    starter = threading.Thread(target=control_plane.start)
    starter.start()
    starter.join()
    time.sleep(0.3)

    control_plane.check()
    assert list(control_plane.pids) == [ETCD]
    control_plane.stop()


def test_watchers_of_a_node_mark_it_lost_when_it_stays_silent() -> None:
    with ControlPlane(node_monitor_grace=2, eviction_delay=1) as control_plane:
        for name in ("lost", "alive"):
            control_plane.api.create("/api/v1/nodes", _build_node(name))

        _wait_until(lambda: _read_ready_condition(control_plane, "lost") == "Unknown", seconds=90)


def test_existing_cluster_is_used_and_left_alone_when_its_kubeconfig_is_named(
    control_plane: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KUBECONFIG_ENV, str(control_plane.kubeconfig))
    with ControlPlane() as existing:
        assert existing.is_external
        assert existing.version == control_plane.version
        assert existing.kubeconfig_for_service_account("default", "default").exists()
        with pytest.raises(ControlPlaneError, match="not ours to stop"):
            existing.stop_apiserver()

    control_plane.check()


def _wait_until(is_true: Callable[[], bool], *, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.05)


def _open_watch(kubeconfig: Path) -> http.client.HTTPResponse:
    api = Api.from_kubeconfig(kubeconfig)
    watch = urllib.request.urlopen(f"{api.server}/api/v1/namespaces?watch=true", context=api.tls, timeout=60)
    assert isinstance(watch, http.client.HTTPResponse)
    return watch


def _read_ready_condition(control_plane: ControlPlane, node: str) -> str:
    conditions = control_plane.api.get(f"/api/v1/nodes/{node}")["status"].get("conditions", [])
    return next((condition["status"] for condition in conditions if condition["type"] == "Ready"), "")


def _build_crd(plural: str, kind: str) -> dict[str, Any]:
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.test.oarlock.dev"},
        "spec": {
            "group": "test.oarlock.dev",
            "scope": "Namespaced",
            "names": {"plural": plural, "kind": kind},
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": schema}],
        },
    }


def _build_node(name: str) -> dict[str, Any]:
    resources = {"cpu": "4", "memory": "8Gi", "pods": "10"}
    ready = {"type": "Ready", "status": "True", "reason": "Test", "message": "plays a node"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {"test.oarlock.dev/node": name}},
        "status": {"capacity": resources, "allocatable": resources, "conditions": [ready]},
    }


def _build_pod(node: str) -> dict[str, Any]:
    # A node is tainted until the controllers have seen it, and lost soon after, as nobody sends its heartbeat.
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "pod"},
        "spec": {
            "nodeSelector": {"test.oarlock.dev/node": node},
            "tolerations": [{"operator": "Exists"}],
            "containers": [{"name": "main", "image": "none"}],
        },
    }
