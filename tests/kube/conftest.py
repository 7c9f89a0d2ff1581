from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kube.operator_process import OperatorProcess
from kube.paper_node import PaperNode
from kube.scene import Scene

from control_plane.server import ControlPlane


@pytest.fixture(scope="module")
def paper_node(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PaperNode]:
    """A node on which pods run on paper."""
    with PaperNode(control_plane.kubeconfig, tmp_path_factory.mktemp("paper-node")) as running:
        yield running


@pytest.fixture
def scene(control_plane: ControlPlane, namespace: str, tmp_path: Path) -> Scene:
    return Scene(control_plane, namespace, tmp_path)


@pytest.fixture
def start_operator(
    control_plane: ControlPlane, namespace: str, tmp_path: Path
) -> Iterator[Callable[..., OperatorProcess]]:
    """Starts an operator of the test's own namespace."""
    started: list[OperatorProcess] = []

    def start(*, kubeconfig: Path | None = None, wait: bool = True) -> OperatorProcess:
        operator = OperatorProcess(kubeconfig or control_plane.kubeconfig, tmp_path, namespace=namespace)
        started.append(operator)
        return operator.start(wait=wait)

    yield start
    for operator in started:
        operator.stop()


@pytest.fixture
def operator(start_operator: Callable[..., OperatorProcess]) -> OperatorProcess:
    return start_operator()
