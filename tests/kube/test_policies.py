"""What becomes of jobs by their policies, on a real API server: all cases side by side under one operator."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from kube.operator_process import OperatorProcess
from kube.paper_node import PaperNode
from kube.scene import Object, Scene, attempt_of, make_job

from control_plane.server import ControlPlane
from oarlock_api.contract import NODES_ENV, Failure
from oarlock_operator import names
from oarlock_operator.manifests.preference import prefer_nodes

pytestmark = pytest.mark.kube

SETTINGS = {"ELASTIC_PLACEMENT_SECONDS": "2"}
NODES = ("policy-a", "policy-b")
LABELS = {"policy-a": "policy-b.example", "policy-b": "policy-a.example"}
"""What the nodes have as kubernetes.io/hostname: nothing in Kubernetes says that it is the name."""
BIG = {"gpusPerNode": 0, "processesPerNode": 1, "resources": {"cpu": 300}}
"""Of pods that take more than half a node: there is room for two."""
ELASTIC = {"minNodes": 1, "maxNodes": 3}
LIKES_A = prefer_nodes({}, ["policy-a"])


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """One namespace with one operator."""

    scene: Scene
    operator: OperatorProcess

    def pods(self, job: str) -> list[Object]:
        pods = [pod for pod in self._all() if pod["metadata"]["labels"][names.JOB_LABEL] == job]
        return sorted(pods, key=lambda pod: str(pod["metadata"]["name"]))

    def _all(self) -> list[Object]:
        return [*self.scene.pods(), *self.scene.pods(names.SCOUT_ROLE)]

    def wait_for_pods(self, job: str, count: int, *, attempt: int = 0) -> list[Object]:
        """Return the pods of an attempt once all have a node; pods of earlier attempts end meanwhile."""

        def placed() -> list[Object] | None:
            self.scene.finish_deletions()
            pods = [pod for pod in self.pods(job) if attempt_of(pod) == attempt]
            return pods if len(pods) == count and all(pod["spec"].get("nodeName") for pod in pods) else None

        found: list[Object] = self.scene.wait_for(
            placed, f"{job} has not {count} pods with a node in attempt {attempt}"
        )
        return found


@pytest.fixture(scope="module")
def stage(control_plane: ControlPlane, account: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("policies")
    scene = Scene(control_plane, control_plane.create_namespace("policies"), folder)
    first, second = (PaperNode(control_plane.kubeconfig, folder / name, name=name) for name in NODES)
    with (
        first,
        second,
        OperatorProcess(account, folder / "operator", namespace=scene.namespace, settings=SETTINGS) as operator,
    ):
        for name, label in LABELS.items():
            control_plane.api.patch(
                f"/api/v1/nodes/{name}", {"metadata": {"labels": {"kubernetes.io/hostname": label}}}
            )
        scene.import_data()
        apply_all(scene)
        yield Stage(scene=scene, operator=operator)


def apply_all(scene: Scene) -> None:
    """Apply every job at once, so that the tests wait side by side."""
    big, faulty = {**BIG, "nodes": 3, "elastic": ELASTIC}, {"gpusPerNode": 0, "podTemplate": {"affinity": LIKES_A}}
    scene.apply(
        make_job("short-lived", runPolicy={"ttlSecondsAfterFinished": 1}),
        make_job("tidy", runPolicy={"cleanPodPolicy": "All"}),
        make_job("led", nodes=2, runPolicy={"successPolicy": "FirstNode"}),
        make_job("faulty", workers=faulty),
        make_job("big", workers=big),
        make_job("rigid"),
    )


def succeed(stage: Stage, pod: Object) -> None:
    stage.scene.run_pod(pod)
    stage.scene.end_pod(pod, step=94, steps=94)


def told_nodes(pods: list[Object]) -> set[str]:
    """Return the numbers of nodes that the pods were told."""
    variables = [variable for pod in pods for variable in pod["spec"]["containers"][0]["env"]]
    return {variable["value"] for variable in variables if variable["name"] == NODES_ENV}


def test_finished_job_goes_with_its_pods_and_its_claim_stays(stage: Stage) -> None:
    succeed(stage, stage.wait_for_pods("short-lived", 1)[0])

    stage.scene.wait_for(lambda: not stage.scene.status("short-lived"), "the job is not deleted")
    stage.scene.wait_for(lambda: not stage.pods("short-lived"), "its pod stays")
    claim = stage.scene.get("pvc", "short-lived-checkpoints")
    assert "deletionTimestamp" not in claim["metadata"]


def test_all_pods_go_when_the_job_is_finished_and_says_so(stage: Stage) -> None:
    succeed(stage, stage.wait_for_pods("tidy", 1)[0])

    status = stage.scene.wait_for_phase("Succeeded", name="tidy")
    stage.scene.wait_for(lambda: stage.scene.finish_deletions() or not stage.pods("tidy"), "its pod stays")
    assert (status["progress"]["step"], status["restartCount"]) == (94, 0)


def test_job_has_succeeded_with_its_first_node_and_the_others_go(stage: Stage) -> None:
    first, second = stage.wait_for_pods("led", 2)
    stage.scene.run_pod(second)
    succeed(stage, first)

    stage.scene.wait_for_phase("Succeeded", name="led")
    stage.scene.wait_for(
        lambda: stage.scene.finish_deletions() or len(stage.pods("led")) == 1, "the second pod still runs"
    )
    assert stage.pods("led")[0]["metadata"]["name"] == first["metadata"]["name"]


def test_job_avoids_a_node_when_its_pods_hung_there_twice(stage: Stage) -> None:
    hung = Failure(cause="Hung", message="rank 0 hangs", remedy="look").to_wire()
    for attempt in (0, 1):
        pod = stage.wait_for_pods("faulty", 1, attempt=attempt)[0]
        assert pod["spec"]["nodeName"] == "policy-a"
        stage.scene.run_pod(pod)
        stage.scene.end_pod(pod, outcome="Failed", exit_code=83, failure=hung)

    pod = stage.wait_for_pods("faulty", 1, attempt=2)[0]

    assert pod["spec"]["nodeName"] == "policy-b"
    [excluded] = stage.scene.status("faulty")["excludedNodes"]
    assert (excluded["node"], excluded["reason"]) == ("policy-a", "2 faults: Hung")


def test_elastic_job_takes_what_there_is_room_for_and_is_scaled_down_by_kubectl(stage: Stage) -> None:
    pods = stage.wait_for_pods("big", 2, attempt=1)
    status = stage.scene.status("big")
    run = status["run"]
    assert (status["gang"]["nodes"], status["gang"]["wanted"], status["restarts"]) == (2, 3, {"Resized": 1})
    assert "there is room for 2 of 3 nodes: " in status["gang"]["why"]
    assert told_nodes(pods) == {"2"}

    stage.scene.kubectl("scale", "tj/big", "--replicas=1")
    pods = stage.wait_for_pods("big", 1, attempt=2)

    status = stage.scene.status("big")
    assert (status["gang"]["nodes"], status["restarts"], status["countedRestarts"]) == (1, {"Resized": 2}, 0)
    assert (status["run"], told_nodes(pods)) == (run, {"1"})


def test_job_of_a_fixed_size_is_not_scaled(stage: Stage) -> None:
    [pod] = stage.wait_for_pods("rigid", 1)

    stage.scene.kubectl("scale", "tj/rigid", "--replicas=2", check=False)

    if "cel" not in stage.scene.control_plane.features:
        stage.scene.wait_for(lambda: "SpecChanged" in reasons(stage.scene.status("rigid")), "the change is not named")
    assert [each["metadata"]["uid"] for each in stage.pods("rigid")] == [pod["metadata"]["uid"]]


def reasons(status: Object) -> set[str]:
    return {condition["reason"] for condition in status["conditions"]}


def test_operator_is_surprised_by_nothing(stage: Stage) -> None:
    stage.operator.check()

    assert "Traceback" not in stage.operator.read_log()
