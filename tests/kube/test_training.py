"""Pods that really train, on a real API server: what a user applies ends in a trained model."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from kube.operator_process import OperatorProcess
from kube.scene import Scene, attempt_of
from kube_node.node_process import NodeProcess

from control_plane.server import ControlPlane

pytestmark = [pytest.mark.kube, pytest.mark.train, pytest.mark.xdist_group("kube")]

EXAMPLE = Path(__file__).parents[2] / "examples" / "mnist"
TRAINING_SECONDS = 240.0

StartOperator = Callable[..., OperatorProcess]


@pytest.fixture(scope="module")
def node(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    with NodeProcess(control_plane.kubeconfig, tmp_path_factory.mktemp("node")) as running:
        yield running
        running.check()


def test_example_trains_to_the_end_when_it_is_applied(
    scene: Scene, operator: OperatorProcess, node: NodeProcess
) -> None:
    scene.kubectl("apply", "-f", str(EXAMPLE))

    status = scene.wait_for_phase("Succeeded", name="digits-lenet", seconds=TRAINING_SECONDS)

    assert float(status["progress"]["accuracy"].split()[0]) >= 97
    assert status["checkpoint"]["export"]
    assert status["restartCount"] == 0
