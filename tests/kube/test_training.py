"""Pods that really train, on a real API server: what a user applies ends in a trained model."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from kube.operator_process import OperatorProcess
from kube.scene import Object, Scene
from kube_node.node_process import NodeProcess

from control_plane.server import ControlPlane

pytestmark = [pytest.mark.kube, pytest.mark.train]

EXAMPLE = Path(__file__).parents[2] / "examples" / "mnist"
TRAINING_SECONDS = 400.0

StartOperator = Callable[..., OperatorProcess]


@pytest.fixture
def start_node(
    control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], NodeProcess]]:
    """Starts nodes on which pods really run."""
    started: list[NodeProcess] = []

    def start(name: str) -> NodeProcess:
        started.append(NodeProcess(control_plane.kubeconfig, tmp_path_factory.mktemp(name), name=name).start())
        return started[-1]

    yield start
    for node in started:
        node.resume()
        node.stop()


def read_example(name: str) -> Object:
    manifest: Object = yaml.safe_load((EXAMPLE / name).read_text())
    return manifest


def test_example_trains_to_the_end_though_the_operator_is_killed_again_and_again(
    scene: Scene, operator: OperatorProcess, start_node: Callable[[str], NodeProcess]
) -> None:
    node = start_node("machine-a")
    scene.kubectl("apply", "-f", str(EXAMPLE))
    for phase, name, kind in (
        ("Importing", "digits", "datasets"),
        ("Starting", "digits-lenet", "trainingjobs"),
        ("Training", "digits-lenet", "trainingjobs"),
    ):
        _wait_until_reached(scene, phase, name, kind)
        operator.kill()
        operator.start(wait=False)

    status = scene.wait_for_phase("Succeeded", name="digits-lenet", seconds=TRAINING_SECONDS)

    assert float(status["progress"]["accuracy"].split()[0]) >= 97
    assert status["checkpoint"]["export"]
    assert (status["attempt"], status["restartCount"], len(scene.pods())) == (0, 0, 1)
    node.check()


def _wait_until_reached(scene: Scene, phase: str, name: str, kind: str) -> None:
    """Wait for a phase, or one beyond it: training goes on while a killed operator is slow to come back."""
    reached = {phase, "Ready"} if kind == "datasets" else {phase, "Training", "Succeeded"}

    def is_reached() -> bool:
        return scene.status(name, kind=kind).get("phase") in reached

    scene.wait_for(is_reached, f"{name} is not {phase}", seconds=TRAINING_SECONDS)


def test_zombie_of_an_older_attempt_commits_nothing_when_its_node_comes_back(
    scene: Scene, operator: OperatorProcess, start_node: Callable[[str], NodeProcess]
) -> None:
    lost = start_node("machine-b")
    job = read_example("job.yaml")
    job["spec"]["recipe"]["epochs"] = 1000
    job["spec"]["checkpoints"]["every"] = {"steps": 40}
    scene.apply(read_example("dataset.yaml"), job)
    scene.wait_for(lambda: _latest(scene) >= 40, "there is no checkpoint", seconds=TRAINING_SECONDS)
    old = scene.pods()[0]
    folder = _find_run_folder(scene)

    lost.pause()
    start_node("machine-c")
    mark = folder / "fence" / "attempt-1.json"
    scene.wait_for(mark.exists, "the second attempt does not start", seconds=240)
    scene.wait_for(lambda: "Superseded" in _read_log(lost, old), "the zombie goes on", seconds=240)

    committed = _read_checkpoints(folder)
    fenced = mark.stat().st_mtime
    assert all(facts["attempt"] == 1 for facts, time in committed if time > fenced)
    status = scene.status("digits-lenet")
    assert (status["attempt"], status["restartCount"], status["countedRestarts"]) == (1, 1, 0)
    scene.kubectl("delete", "tj", "digits-lenet")


def _latest(scene: Scene) -> int:
    checkpoint = scene.status("digits-lenet").get("checkpoint") or {}
    return int((checkpoint.get("latest") or {}).get("step", 0))


def _find_run_folder(scene: Scene) -> Path:
    claim = scene.get("pvc", "digits-lenet-checkpoints")
    volume = scene.control_plane.api.get(f"/api/v1/persistentvolumes/{claim['spec']['volumeName']}")
    return Path(volume["spec"]["hostPath"]["path"]) / scene.get("tj", "digits-lenet")["metadata"]["uid"]


def _read_log(node: NodeProcess, pod: Object) -> str:
    return node.read_pod_log(pod["metadata"]["namespace"], pod["metadata"]["name"])


def _read_checkpoints(folder: Path) -> list[tuple[Object, float]]:
    return [(json.loads(path.read_text()), path.stat().st_mtime) for path in folder.rglob("oarlock.json")]
