"""Two operators on a real API server: one writes, the other takes over, and running jobs notice neither that nor an outage."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from chart.hooks import localise, read_hook
from kube.conftest import RELEASE
from kube.operator_process import OperatorProcess
from kube.paper_node import PaperNode
from kube.scene import Object, Scene, attempt_of, make_job
from kube_node.node_process import NodeProcess

from control_plane.network import FlakyNetwork
from control_plane.server import ControlPlane
from oarlock_operator import names
from oarlock_operator.leading import LEASE_SECONDS

pytestmark = pytest.mark.kube

TAKEOVER_SECONDS = 15.0
ELECTION = {"LEASE_NAMESPACE": RELEASE, "LEASE_NAME": RELEASE}


class Replicas:
    """Operators of one namespace, and jobs that train there on paper."""

    def __init__(self, scene: Scene, network: FlakyNetwork, kubeconfig: Path, folder: Path) -> None:
        self.scene, self.network = scene, network
        self.kubeconfig, self.folder = kubeconfig, folder
        self.running: list[OperatorProcess] = []
        self._started = 0

    def start(self, count: int = 1, **settings: str) -> None:
        """Start operators side by side, and return when all are ready."""
        for _ in range(count):
            self._started += 1
            folder = self.folder / f"operator-{self._started}"
            chosen = {**ELECTION, **settings}
            operator = OperatorProcess(self.kubeconfig, folder, namespace=self.scene.namespace, settings=chosen)
            self.running.append(operator.start(wait=False))
        for operator in self.running:
            operator.wait_until_ready()

    def find_leader(self) -> OperatorProcess:
        leaders: list[OperatorProcess] = self.scene.wait_for(
            lambda: [operator for operator in self.running if operator.is_leading()], "nobody leads"
        )
        assert len(leaders) == 1
        return leaders[0]

    def kill_leader(self) -> None:
        leader = self.find_leader()
        leader.kill()
        self.running.remove(leader)

    def stop_leader(self) -> OperatorProcess:
        """Ask the leader to stop, as an upgrade does."""
        leader = self.find_leader()
        leader.stop()
        self.running.remove(leader)
        return leader

    def lease(self) -> Object:
        path = f"/apis/coordination.k8s.io/v1/namespaces/{RELEASE}/leases/{RELEASE}"
        spec: Object = self.scene.control_plane.api.get(path)["spec"]
        return spec

    def wait_for_handover(self, before: str | None) -> None:
        self.scene.wait_for(lambda: self.lease().get("holderIdentity") not in {None, "", before}, "nobody takes over")

    def pods_of(self, job: str) -> list[Object]:
        return [pod for pod in self.scene.pods() if pod["metadata"]["labels"][names.JOB_LABEL] == job]

    def train(self, job: str, *, nodes: int = 2) -> list[Object]:
        self.scene.apply(make_job(job, nodes=nodes))
        return self.run_pods(job, nodes=nodes)

    def run_pods(self, job: str, *, nodes: int = 2, attempt: int = 0) -> list[Object]:
        def bound() -> list[Object] | None:
            pods = [pod for pod in self.pods_of(job) if attempt_of(pod) == attempt]
            return pods if len(pods) == nodes and all(pod["spec"].get("nodeName") for pod in pods) else None

        pods: list[Object] = self.scene.wait_for(bound, f"{job} has not got {nodes} pods of attempt {attempt}")
        for pod in pods:
            self.scene.run_pod(pod)
        return pods

    def finish(self, job: str, pods: list[Object]) -> Object:
        for pod in pods:
            self.scene.end_pod(pod, step=94, steps=94)
        return self.scene.wait_for_phase("Succeeded", name=job)

    def stop(self) -> None:
        for operator in self.running:
            operator.stop()


@pytest.fixture(scope="module")
def replicas(
    control_plane: ControlPlane, account: Path, paper_node: PaperNode, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Replicas]:
    folder = tmp_path_factory.mktemp("replicas")
    scene = Scene(control_plane, control_plane.create_namespace("replicas"), folder)
    with control_plane.flaky_network(account) as (network, kubeconfig):
        replicas = Replicas(scene, network, kubeconfig, folder)
        try:
            replicas.start(2)
            scene.import_data()
            yield replicas
        finally:
            replicas.stop()


def uids(pods: list[Object]) -> set[str]:
    return {pod["metadata"]["uid"] for pod in pods}


def test_one_writes_and_both_are_ready(replicas: Replicas) -> None:
    leader = replicas.find_leader()
    [other] = [operator for operator in replicas.running if operator is not leader]

    assert leader.is_ready()
    assert other.is_ready()
    assert "created Pod" not in other.read_log()
    assert replicas.lease()["leaseDurationSeconds"] == LEASE_SECONDS


def test_second_one_takes_over_within_fifteen_seconds_of_a_sigkill(replicas: Replicas) -> None:
    trained = replicas.train("steady")
    failing = replicas.train("failing")
    before = replicas.lease()["holderIdentity"]
    # It is killed in the middle of an answer to a failure: what it has done of it counts once.
    failure = {"cause": "UserError", "message": "KeyError"}
    replicas.scene.end_pod(failing[0], outcome="Failed", exit_code=70, failure=failure)
    replicas.kill_leader()
    began = time.monotonic()
    replicas.scene.apply(make_job("late"))

    replicas.wait_for_handover(before)
    took = time.monotonic() - began
    replicas.finish("late", replicas.run_pods("late", nodes=1))

    assert took < TAKEOVER_SECONDS
    assert uids(replicas.pods_of("steady")) == uids(trained)
    status = replicas.scene.wait_for(lambda: restarted(replicas), "the failure is not answered")
    assert (status["attempt"], status["restartCount"], len(status["failures"])) == (1, 1, 1)
    replicas.start()


def restarted(replicas: Replicas) -> Any:
    replicas.scene.finish_deletions()
    pods = [pod for pod in replicas.pods_of("failing") if attempt_of(pod) == 1]
    assert len(pods) <= 2
    status = replicas.scene.status("failing")
    return status if len(pods) == 2 and status.get("attempt") == 1 else None


def test_running_jobs_do_not_notice_an_upgrade(replicas: Replicas) -> None:
    pods = replicas.train("upgraded")
    before, run = replicas.lease()["holderIdentity"], replicas.scene.status("upgraded")["run"]
    replicas.start(TRAINER_IMAGE="registry.example/trainer:9", STATUS_PORT="9999")
    stopped = [replicas.stop_leader()]
    replicas.wait_for_handover(before)
    while not any("trainer:9" in image for image in images_of_next_job(replicas, len(stopped))):
        before = replicas.lease()["holderIdentity"]
        stopped.append(replicas.stop_leader())
        replicas.start()
        replicas.wait_for_handover(before)
        assert len(stopped) <= 3

    assert all("gave the Lease back" in each.read_log() for each in stopped)
    after = replicas.pods_of("upgraded")
    status = replicas.scene.status("upgraded")
    assert uids(after) == uids(pods)
    assert (status["run"], status["attempt"], status["restartCount"]) == (run, 0, 0)
    replicas.finish("upgraded", pods)


def images_of_next_job(replicas: Replicas, number: int) -> set[str]:
    pods = replicas.train(f"next-{number}", nodes=1)
    return {pod["spec"]["containers"][0]["image"] for pod in pods}


def test_work_goes_on_by_itself_when_the_server_was_away(replicas: Replicas) -> None:
    pods = replicas.train("patient")
    processes = list(replicas.running)
    replicas.network.refuse()
    replicas.scene.end_pod(pods[0], step=94, steps=94)
    time.sleep(LEASE_SECONDS + 4)
    assert uids(replicas.pods_of("patient")) == uids(pods)
    assert not any(operator.is_leading() for operator in processes)
    replicas.network.restore()

    status = replicas.finish("patient", pods[1:])

    assert (status["attempt"], status["restartCount"]) == (0, 0)
    assert uids(replicas.pods_of("patient")) == uids(pods)
    for operator in processes:
        operator.check()


def test_datasets_can_be_deleted_when_the_operator_is_removed(replicas: Replicas, tmp_path: Path) -> None:
    """Last: the operators must not write for a while after it."""
    replicas.train("holding")
    scene = replicas.scene
    scene.wait_for(lambda: scene.get("dset", "digits")["metadata"].get("finalizers"), "the Dataset is not held")

    said = run_hook(scene, tmp_path)

    assert f"released Dataset {scene.namespace}/digits" in said
    assert not any(operator.is_leading() for operator in replicas.running)
    scene.patch_job({"runPolicy": {"suspend": True}}, name="holding")
    scene.kubectl("delete", "dset", "digits", "--timeout=60s")
    assert scene.status("holding")["phase"] != "Suspended"


def run_hook(scene: Scene, folder: Path) -> str:
    """Run the Job that the chart has for `helm uninstall`, with its account, to its end; return what it printed."""
    control_plane = scene.control_plane
    job = read_hook(control_plane, namespace=RELEASE, release=RELEASE)
    account = job["spec"]["template"]["spec"]["serviceAccountName"]
    kubeconfig = control_plane.kubeconfig_for_service_account(RELEASE, account)
    path, name = f"/apis/batch/v1/namespaces/{RELEASE}/jobs", job["metadata"]["name"]
    with NodeProcess(control_plane.kubeconfig, folder / "node", name="hook-node") as node:
        control_plane.api.create(path, localise(job, node=node.name, kubeconfig=kubeconfig))
        try:
            ended = scene.wait_for(lambda: find_end(control_plane.api.get(f"{path}/{name}")), "the hook does not end")
            pods = control_plane.api.get(f"/api/v1/namespaces/{RELEASE}/pods?labelSelector=job-name%3D{name}")["items"]
            said = [node.read_pod_log(RELEASE, pod["metadata"]["name"]) for pod in pods]
            assert (ended, len(pods)) == ("Complete", 1), said
            return said[0]
        finally:
            control_plane.api.ask("DELETE", f"{path}/{name}?propagationPolicy=Foreground")


def find_end(job: Object) -> str:
    """Return how a Job ended; empty: it has not."""
    conditions = job.get("status", {}).get("conditions") or ()
    return next((each["type"] for each in conditions if each["status"] == "True"), "")
