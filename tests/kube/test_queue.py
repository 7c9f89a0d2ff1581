"""Jobs that wait for GPUs, on a real API server with a real scheduler: one operator, and a node with GPUs for each case."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from kube.operator_process import OperatorProcess
from kube.paper_node import PaperNode
from kube.scene import Object, Scene, attempt_of, make_job

from control_plane.server import ControlPlane
from oarlock_operator import names

pytestmark = pytest.mark.kube

GPU = "nvidia.com/gpu"
NODES = ("gpu-a", "gpu-b", "gpu-c", "gpu-d")
GPUS = 4
LOCAL_QUEUES: Object = {
    "metadata": {
        "name": "localqueues.kueue.x-k8s.io",
        "annotations": {"api-approved.kubernetes.io": "unapproved, for a test"},
    },
    "spec": {
        "group": "kueue.x-k8s.io",
        "scope": "Namespaced",
        "names": {"plural": "localqueues", "kind": "LocalQueue"},
        "versions": [
            {"name": "v1beta1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {"type": "object"}}}
        ],
    },
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Cluster:
    """Some nodes with GPUs, and one operator that queues jobs for them."""

    scene: Scene
    operator: OperatorProcess

    def apply(self, name: str, *, node: str, gpus: int = GPUS, priority: int = 0) -> None:
        template = {"nodeSelector": {"kubernetes.io/hostname": node}}
        workers = {"nodes": 1, "gpusPerNode": gpus, "podTemplate": template, "resources": {"cpu": 1, "memory": "1Gi"}}
        self.scene.apply(make_job(name, workers=workers, runPolicy={"priority": priority, "gracePeriodSeconds": 30}))

    def pods(self, job: str) -> list[Object]:
        return [pod for pod in self.scene.pods() if pod["metadata"]["labels"][names.JOB_LABEL] == job]

    def wait_for_pod(self, job: str) -> Object:
        """Return the only pod of a job, once it has a node and is not on its way out."""

        def find() -> Object | None:
            pods = [pod for pod in self.pods(job) if "deletionTimestamp" not in pod["metadata"]]
            return pods[0] if len(pods) == 1 and pods[0]["spec"].get("nodeName") else None

        found: Object = self.scene.wait_for(find, f"job {job} has no pod with a node")
        return found

    def wait_for_reason(self, job: str, reason: str) -> Object:
        def find() -> Object | None:
            status = self.scene.status(job)
            return status if status.get("reason") == reason else None

        found: Object = self.scene.wait_for(find, f"job {job} does not say {reason}")
        return found


@pytest.fixture(scope="module")
def cluster(control_plane: ControlPlane, account: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("queue")
    scene = Scene(control_plane, control_plane.create_namespace("queue"), folder)
    settings = {"QUEUEING": "on"}
    with ExitStack() as stack:
        for node in NODES:
            stack.enter_context(PaperNode(control_plane.kubeconfig, folder / node, name=node, gpus=GPUS))
        operator = OperatorProcess(account, folder / "operator", namespace=scene.namespace, settings=settings)
        stack.enter_context(operator)
        scene.import_data()
        yield Cluster(scene=scene, operator=operator)


def test_second_job_waits_with_its_place_and_starts_when_the_first_ends(cluster: Cluster) -> None:
    cluster.apply("first", node="gpu-a")
    pod = cluster.wait_for_pod("first")
    cluster.apply("second", node="gpu-a")
    status = cluster.wait_for_reason("second", "WaitingForCapacity")

    assert (status["phase"], status["queue"]["position"]) == ("Queued", 1)
    assert status["message"] == "1st in the queue; needs 4 nvidia.com/gpu, none free on 1 node"
    assert cluster.pods("second") == []

    cluster.scene.run_pod(pod)
    cluster.scene.end_pod(pod, step=94, steps=94)
    cluster.wait_for_pod("second")
    assert "queue" not in cluster.scene.status("second")


def test_higher_priority_preempts_a_lower_job_which_goes_on_afterwards(cluster: Cluster) -> None:
    scene = cluster.scene
    cluster.apply("low", node="gpu-b")
    scene.run_pod(cluster.wait_for_pod("low"))
    cluster.apply("high", node="gpu-b", priority=7)

    status = cluster.wait_for_reason("low", "Preempted")
    assert f"preempted by job {scene.namespace}/high of priority 7" in status["message"]
    assert cluster.pods("high") == []

    scene.wait_for(lambda: "deletionTimestamp" in cluster.pods("low")[0]["metadata"], "low keeps its pod")
    scene.finish_deletions()
    pod = cluster.wait_for_pod("high")
    scene.run_pod(pod)
    scene.end_pod(pod, step=94, steps=94)

    assert attempt_of(cluster.wait_for_pod("low")) == 1
    _, metrics = cluster.operator.ask(cluster.operator.metrics_port, "/metrics")
    assert "oarlock_operator_queue_preemptions_total 1.0" in metrics
    assert scene.status("low").get("restartCount", 0) == 0


def test_pod_of_somebody_else_keeps_its_gpus(cluster: Cluster) -> None:
    api, namespace = cluster.scene.control_plane.api, cluster.scene.namespace
    container = {"name": "main", "image": "none", "resources": {"limits": {GPU: "3"}}}
    metadata = {"name": "stranger"}
    api.create(
        f"/api/v1/namespaces/{namespace}/pods",
        {"metadata": metadata, "spec": {"nodeName": "gpu-c", "containers": [container]}},
    )

    # What foreign pods take is read anew before a place is given away, unless that was done just now.
    time.sleep(5)
    cluster.apply("large", node="gpu-c", gpus=GPUS)
    cluster.apply("small", node="gpu-c", gpus=1)

    status = cluster.wait_for_reason("large", "WaitingForCapacity")
    cluster.scene.wait_for(lambda: "1 free on 1 node" in cluster.scene.status("large")["message"], "3 are not taken")
    assert status["phase"] == "Queued"
    assert cluster.pods("large") == cluster.pods("small") == []


def test_job_that_names_a_queue_is_handed_to_kueue_where_that_is_served(cluster: Cluster) -> None:
    scene, api = cluster.scene, cluster.scene.control_plane.api
    definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    api.create(definitions, LOCAL_QUEUES)
    try:
        scene.wait_for(lambda: api.ask("GET", "/apis/kueue.x-k8s.io").ok, "the group is not served")
        scene.apply(make_job("theirs", nodes=2, runPolicy={"queue": "team-a"}))
        scene.wait_for(lambda: len(cluster.pods("theirs")) == 2, "the pods are not created")
    finally:
        api.ask("DELETE", f"{definitions}/{LOCAL_QUEUES['metadata']['name']}")

    metadata = [pod["metadata"] for pod in cluster.pods("theirs")]
    assert {each["labels"]["kueue.x-k8s.io/queue-name"] for each in metadata} == {"team-a"}
    assert len({each["labels"]["kueue.x-k8s.io/pod-group-name"] for each in metadata}) == 1
    assert {each["annotations"]["kueue.x-k8s.io/pod-group-total-count"] for each in metadata} == {"2"}


def test_place_is_kept_when_the_operator_is_killed_between_verdict_and_pods(cluster: Cluster) -> None:
    scene, api = cluster.scene, cluster.scene.control_plane.api
    quotas = f"/api/v1/namespaces/{scene.namespace}/resourcequotas"
    api.create(quotas, {"metadata": {"name": "no-gpus"}, "spec": {"hard": {f"requests.{GPU}": "0"}}})
    scene.wait_for(lambda: "status" in api.get(f"{quotas}/no-gpus"), "the quota is not counted")
    cluster.apply("chosen", node="gpu-d")
    scene.wait_for(lambda: is_admitted(scene.status("chosen")), "the job gets no place")
    cluster.operator.kill()
    assert cluster.pods("chosen") == []
    cluster.apply("other", node="gpu-d")
    api.ask("DELETE", f"{quotas}/no-gpus")
    cluster.operator.start()

    cluster.wait_for_pod("chosen")
    cluster.wait_for_reason("other", "WaitingForCapacity")
    assert len(cluster.pods("chosen")) == 1
    assert cluster.pods("other") == []
    assert "Traceback" not in cluster.operator.read_log()


def is_admitted(status: Object) -> bool:
    return any(each["type"] == "Admitted" and each["status"] == "True" for each in status.get("conditions", ()))
