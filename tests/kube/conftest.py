from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from chart.releases import CHART, helm, uninstall
from kube.operator_process import OperatorProcess
from kube.paper_node import PaperNode
from kube.scene import Scene

from control_plane.server import ControlPlane

RELEASE = "oarlock-under-test"


@pytest.fixture(scope="session")
def account(control_plane: ControlPlane) -> Iterator[Path]:
    """A kubeconfig of the service account that the chart creates: the operators of all tests hold its rights alone."""
    namespace = control_plane.create_namespace(RELEASE)
    place = ("--namespace", namespace, "--kubeconfig", str(control_plane.kubeconfig))
    # A server without CEL knows no rules in schemas, and says so unless it is told not to look.
    old = () if "cel" in control_plane.features else ("--server-side=false", "--disable-openapi-validation")
    installed = helm("install", RELEASE, str(CHART), "--set", "replicas=0", "--take-ownership", *old, *place)
    assert installed.returncode == 0, installed.stderr
    yield control_plane.kubeconfig_for_service_account(namespace, RELEASE)
    removed = uninstall(control_plane, namespace=namespace, release=RELEASE)
    assert removed.returncode == 0, removed.stderr


@pytest.fixture(scope="module")
def paper_node(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PaperNode]:
    """A node on which pods run on paper."""
    with PaperNode(control_plane.kubeconfig, tmp_path_factory.mktemp("paper-node")) as running:
        yield running


@pytest.fixture
def scene(control_plane: ControlPlane, namespace: str, tmp_path: Path) -> Scene:
    return Scene(control_plane, namespace, tmp_path)


@pytest.fixture
def start_operator(account: Path, namespace: str, tmp_path: Path) -> Iterator[Callable[..., OperatorProcess]]:
    """Starts an operator of the test's own namespace."""
    started: list[OperatorProcess] = []

    def start(
        *, kubeconfig: Path | None = None, settings: Mapping[str, str] | None = None, wait: bool = True
    ) -> OperatorProcess:
        operator = OperatorProcess(kubeconfig or account, tmp_path, namespace=namespace, settings=settings)
        started.append(operator)
        return operator.start(wait=wait)

    yield start
    for operator in started:
        operator.show_log()
        operator.stop()


@pytest.fixture
def operator(start_operator: Callable[..., OperatorProcess]) -> OperatorProcess:
    return start_operator()
