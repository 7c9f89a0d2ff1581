"""A machine falls silent while its pods train, and they go on after they were given up: what they do then counts for nothing."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kube.operator_process import OperatorProcess
from kube.scene import DATASET, Object, Scene, make_job
from kube.test_life import TRAINING_SECONDS, find_run_folder, read_latest
from kube_node.node_process import NodeProcess

from control_plane.server import ControlPlane

pytestmark = [pytest.mark.kube, pytest.mark.train]


@pytest.fixture
def start_node(
    control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str], NodeProcess]]:
    """Starts nodes on which pods really run."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    started: list[NodeProcess] = []

    def start(name: str) -> NodeProcess:
        started.append(NodeProcess(control_plane.kubeconfig, tmp_path_factory.mktemp(name), name=name).start())
        return started[-1]

    yield start
    for node in started:
        node.resume()
        node.stop()


def test_zombie_of_an_older_attempt_commits_nothing_when_its_node_comes_back(
    scene: Scene, operator: OperatorProcess, start_node: Callable[[str], NodeProcess]
) -> None:
    lost = start_node("machine-b")
    checkpoints = {"every": {"steps": 40}, "volume": {"size": "1Gi", "accessModes": ["ReadWriteMany"]}}
    scene.apply(DATASET, make_job(recipe={"maxSteps": 1_000_000, "batchSize": 64}, checkpoints=checkpoints))
    scene.wait_for(lambda: read_latest(scene, "lenet") >= 40, "there is no checkpoint", seconds=TRAINING_SECONDS)
    old = scene.pods()[0]
    folder = find_run_folder(scene, "lenet")

    lost.pause()
    start_node("machine-c")
    mark = folder / "fence" / "attempt-1.json"
    scene.wait_for(mark.exists, "the second attempt does not start", seconds=240)
    scene.wait_for(lambda: "Superseded" in _read_log(lost, old), "the zombie goes on", seconds=240)

    committed = _read_checkpoints(folder)
    fenced = mark.stat().st_mtime
    assert all(facts["attempt"] == 1 for facts, time in committed if time > fenced)
    status = scene.status()
    assert (status["attempt"], status["restartCount"], status["countedRestarts"]) == (1, 1, 0), scene.explain()
    scene.kubectl("delete", "tj", "lenet")


def _read_log(node: NodeProcess, pod: Object) -> str:
    return node.read_pod_log(pod["metadata"]["namespace"], pod["metadata"]["name"])


def _read_checkpoints(folder: Path) -> list[tuple[Object, float]]:
    return [(json.loads(path.read_text()), path.stat().st_mtime) for path in folder.rglob("oarlock.json")]
