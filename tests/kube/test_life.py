"""The life of jobs that really train, by the commands that the README gives."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from checkpointing.tiny_runs import flip_byte
from importing.made_sources import write_class_folders
from kube.operator_process import OperatorProcess
from kube.scene import Object, Scene, make_job
from kube_node.node_process import NodeProcess

from control_plane.server import ControlPlane

pytestmark = [pytest.mark.kube, pytest.mark.train]

ROOT = Path(__file__).parents[2]
TRAINING_SECONDS = 400.0


@pytest.fixture
def node(control_plane: ControlPlane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[NodeProcess]:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    with NodeProcess(control_plane.kubeconfig, tmp_path / "node", name="training-node") as running:
        yield running
        running.check()


def read_commands() -> list[list[str]]:
    """Return the README's kubectl commands in order, as words, without `kubectl`."""
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    return [shlex.split(line)[1:] for line in lines if line.startswith("kubectl ")]


def test_job_lives_by_the_commands_of_the_readme_though_the_operator_is_killed_again_and_again(
    scene: Scene, operator: OperatorProcess, node: NodeProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    apply, get, describe, suspend, resume, delete = read_commands()
    scene.kubectl(*apply)
    kill_when_reached(operator, scene, "Importing", "digits", "datasets")
    kill_when_reached(operator, scene, "Starting", "digits-lenet", "trainingjobs")
    scene.wait_for(lambda: read_step(scene) > 0, "it does not train", seconds=TRAINING_SECONDS)
    assert re.search(r"digits +Ready +100 +5000 +10", scene.kubectl(*get))
    assert "Training" in scene.kubectl(*describe).split("Events:")[1]

    scene.kubectl(*suspend)
    safe = wait_for_safe_step(scene)
    assert (scene.pods(), scene.status("digits-lenet")["phase"]) == ([], "Suspended")
    folder = find_run_folder(scene, "digits-lenet")
    before = sorted(path.name for path in folder.rglob("oarlock.json"))
    assert before

    scene.kubectl(*resume)
    kill_when_reached(operator, scene, "Training", "digits-lenet", "trainingjobs")
    status = scene.wait_for_phase("Succeeded", name="digits-lenet", seconds=TRAINING_SECONDS)
    assert (status["attempt"], status["restartCount"], len(scene.pods())) == (1, 0, 1)
    assert float(status["progress"]["metric"].split()[1]) >= 97
    assert status["checkpoint"]["export"]
    assert wait_for_resumption(scene, node) >= safe > 0
    assert_shown(scene.kubectl(*get), status)

    scene.kubectl(*delete)
    scene.wait_for(lambda: not scene.pods(), "the pods stay")
    assert scene.get("pvc", "digits-lenet-checkpoints")["status"]["phase"] == "Bound"
    assert list(folder.rglob("oarlock.json"))


def kill_when_reached(operator: OperatorProcess, scene: Scene, phase: str, name: str, kind: str) -> None:
    """Kill the operator in a phase, or one beyond it: what runs goes on while a killed operator is slow to come back."""
    reached = {phase, "Ready"} if kind == "datasets" else {phase, "Training", "Succeeded"}
    scene.wait_for(
        lambda: scene.status(name, kind=kind).get("phase") in reached,
        f"{name} is not {phase}",
        seconds=TRAINING_SECONDS,
    )
    operator.kill()
    operator.start(wait=False)


def read_step(scene: Scene) -> int:
    return int((scene.status("digits-lenet").get("progress") or {}).get("step", 0))


def wait_for_safe_step(scene: Scene, job: str = "digits-lenet") -> int:
    """Return the step that the job says is safe, once it is suspended altogether."""

    def find() -> re.Match[str] | None:
        status = scene.status(job)
        suspended = any(entry["type"] == "Suspended" and entry["status"] == "True" for entry in status["conditions"])
        return re.search(r"step (\d+) is safe", status["message"]) if suspended else None

    found: re.Match[str] = scene.wait_for(find, "it is not suspended", seconds=200)
    assert int(found[1]) > 0
    return int(found[1])


def read_log(scene: Scene, node: NodeProcess) -> str:
    return "".join(node.read_pod_log(scene.namespace, pod["metadata"]["name"]) for pod in scene.pods())


def wait_for_resumption(scene: Scene, node: NodeProcess) -> int:
    """Return the step from which the trainer says that it goes on."""
    pattern = re.compile(r"from the checkpoint of step (\d+)\n")
    found = scene.wait_for(lambda: pattern.search(read_log(scene, node)), "it does not go on", seconds=TRAINING_SECONDS)
    return int(found[1])


def assert_shown(table: str, status: Object) -> None:
    """See that both tables have the columns that a person looks for, and the values of this job."""
    datasets, jobs = (part.splitlines() for part in table.strip().split("\n\n"))
    assert {"PHASE", "PROGRESS", "SAMPLES", "AGE"} <= set(datasets[0].split())
    assert {"PHASE", "PROGRESS", "METRIC", "AGE"} <= set(jobs[0].split())
    metric = status["progress"]["metric"]
    assert re.search(rf"Succeeded +\w+ +100 .* {re.escape(metric)} +0 +[\dms]+$", jobs[1]), table


def find_run_folder(scene: Scene, job: str) -> Path:
    volume = scene.get("pvc", f"{job}-checkpoints")["spec"]["volumeName"]
    path: str = scene.control_plane.api.get(f"/api/v1/persistentvolumes/{volume}")["spec"]["hostPath"]["path"]
    return Path(path) / str(scene.get("tj", job)["metadata"]["uid"])


def test_two_nodes_train_together_and_their_claim_goes_with_them_when_the_job_says_so(
    scene: Scene, operator: OperatorProcess, node: NodeProcess
) -> None:
    apply_shapes(scene)
    volume = {"size": "1Gi", "accessModes": ["ReadWriteMany"], "retain": "Delete"}
    scene.apply(make_job("shapes-mlp", nodes=2, model={"name": "mlp"}, checkpoints={"volume": volume}, dataset=SHAPES))
    pods = scene.wait_for_pods(2)

    status = scene.wait_for_phase("Succeeded", name="shapes-mlp", seconds=TRAINING_SECONDS)

    assert (status["attempt"], status["restartCount"], status["nodes"]) == (0, 0, 2)
    logs = [node.read_pod_log(scene.namespace, pod["metadata"]["name"]) for pod in pods]
    assert all("--nnodes=2" in log and "Succeeded" in log for log in logs)
    assert "shapes-mlp" in scene.kubectl("get", "services", "-o", "name")
    folder = find_run_folder(scene, "shapes-mlp")
    assert status["checkpoint"]["export"]
    assert list(folder.rglob("oarlock.json"))
    scene.kubectl("delete", "tj", "shapes-mlp")
    scene.wait_for(lambda: not folder.exists(), "the checkpoints stay")
    left = scene.kubectl("get", "pods,services,persistentvolumeclaims", "-o", "name").split()
    assert [name for name in left if "mlp" in name] == []
    assert "persistentvolumeclaim/shapes-data" in left


def test_job_goes_on_from_the_checkpoint_before_when_a_byte_of_the_latest_is_flipped(
    scene: Scene, operator: OperatorProcess, node: NodeProcess
) -> None:
    apply_shapes(scene)
    checkpoints = {"every": {"steps": 50}, "keep": 3}
    recipe = {"maxSteps": 1_000_000, "batchSize": 16}
    scene.apply(make_job("endless", model={"name": "mlp"}, recipe=recipe, checkpoints=checkpoints, dataset=SHAPES))
    scene.wait_for(lambda: read_latest(scene, "endless") >= 100, "there is no checkpoint", seconds=TRAINING_SECONDS)
    scene.patch_job({"runPolicy": {"suspend": True}}, name="endless")
    wait_for_safe_step(scene, "endless")
    damaged = max((find_run_folder(scene, "endless") / "checkpoints").glob("step-*")) / "__0_0.distcp"

    flip_byte(damaged)
    scene.patch_job({"runPolicy": {"suspend": False}}, name="endless")

    assert 50 <= wait_for_resumption(scene, node) < int(damaged.parent.name.removeprefix("step-"))
    scene.wait_for(lambda: str(damaged) in read_log(scene, node), "the damaged file is not named")
    status = scene.status("endless")
    assert (status["attempt"], status["restartCount"]) == (1, 0)
    scene.kubectl("delete", "tj", "endless")


def read_latest(scene: Scene, job: str) -> int:
    checkpoint = scene.status(job).get("checkpoint") or {}
    return int((checkpoint.get("latest") or {}).get("step", 0))


SHAPES = {"name": "shapes"}


def apply_shapes(scene: Scene) -> None:
    """Apply a Dataset of small images that are on a claim already."""
    storage = {"size": "1Gi", "accessModes": ["ReadWriteMany"]}
    claim = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}}
    scene.apply({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "raw"}, "spec": claim})
    volume = scene.wait_for(lambda: scene.get("pvc", "raw")["spec"].get("volumeName"), "the claim gets no volume")
    path = scene.control_plane.api.get(f"/api/v1/persistentvolumes/{volume}")["spec"]["hostPath"]["path"]
    write_class_folders(Path(path), each=100)
    spec = {"source": {"volume": {"claim": "raw"}}, "layout": {"folders": {}}, "storage": storage}
    scene.apply({"apiVersion": "oarlock.dev/v1alpha1", "kind": "Dataset", "metadata": SHAPES, "spec": spec})
    scene.wait_for_phase("Ready", name="shapes", kind="datasets", seconds=TRAINING_SECONDS)


def test_program_in_a_config_map_runs_as_it_is_and_its_end_is_told(
    scene: Scene, operator: OperatorProcess, node: NodeProcess
) -> None:
    scene.kubectl("apply", "-k", str(ROOT / "examples" / "torchrun"))
    status = scene.wait_for_phase("Succeeded", name="straight-line", seconds=TRAINING_SECONDS)

    assert (status["script"]["level"], status["restartCount"], "dataset" in status["run"]) == ("L0", 0, False)
    printed = next(find_run_folder(scene, "straight-line").glob("logs/*.log")).read_text()
    assert "step 200: loss" in printed
