"""Least rights, both ways: what the chart grants is used over the life of jobs, what is used is granted, and no Secret is readable."""

import json
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from chart.releases import RELEASE, install, uninstall
from faults.fault import find_difference
from faults.gang_faults import GANG_FAULTS
from kube.operator_process import OperatorProcess
from kube.paper_node import PaperNode
from kube.pod_group_definitions import DEFINITIONS, build_definition, find_scheduler, groups_path, place_pods
from kube.scene import DATASET, PATIENCE_SECONDS, Object, Scene, make_facts, make_job

from control_plane.audit import Request
from control_plane.server import ControlPlane
from control_plane.tools import kubectl_path
from oarlock_operator import names

pytestmark = pytest.mark.kube

EVERYBODYS = {"create selfsubjectaccessreviews.authorization.k8s.io"}
"""What Kubernetes grants to every account."""
ASKED_IN_VAIN = {"customresourcedefinitions", "nodes"}
"""What an operator of one namespace may not read, and does without."""
LOST = {"oarlock.test/doomed": "yes"}
COSCHEDULING = find_scheduler("coscheduling")
[SILENT] = [fault for fault in GANG_FAULTS if fault.name == "group-scheduler-silent"]
ONLY_FOR_THE_LOST = {"key": "oarlock.test/doomed", "effect": "NoSchedule"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Life:
    """What became of an operator that has seen everything."""

    account: Path
    namespace: str
    """Namespace of the release."""
    served: str
    granted: frozenset[str]
    requests: frozenset[Request]
    pods: tuple[Object, ...]
    """Those that the server still has, with all that its admission added."""


def name_right(verb: str, group: str, resource: str) -> str:
    return f"{verb} {resource}{f'.{group}' if group else ''}"


def read_granted(scene: Scene, account: str) -> Iterator[str]:
    """Yield what the roles allow that are bound to an account, in any namespace or none."""
    bindings = json.loads(scene.kubectl("get", "clusterrolebindings,rolebindings", "-A", "-o", "json"))["items"]
    for binding in bindings:
        subjects = [(each["kind"], each["name"], each.get("namespace")) for each in binding.get("subjects") or ()]
        if ("ServiceAccount", RELEASE, account) in subjects:
            role, place = binding["roleRef"], binding["metadata"].get("namespace")
            where = ("-n", place) if place else ()
            rules = json.loads(scene.kubectl("get", role["kind"], role["name"], *where, "-o", "json"))["rules"]
            for rule in rules:
                for group in rule["apiGroups"]:
                    yield from (
                        name_right(verb, group, resource) for resource in rule["resources"] for verb in rule["verbs"]
                    )


def add_doomed_node(scene: Scene) -> None:
    """Add a node that is lost when nobody keeps it alive any more, and takes no pods but those that are meant for it."""
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "doomed", "labels": LOST}}
    scene.control_plane.api.create("/api/v1/nodes", {**node, "spec": {"taints": [ONLY_FOR_THE_LOST]}})


def keep_alive(scene: Scene) -> None:
    capacity = {"cpu": "8", "memory": "64Gi", "pods": "10"}
    now = datetime.now(tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "lastHeartbeatTime": now}
    status = {"capacity": capacity, "allocatable": capacity, "conditions": [ready]}
    scene.control_plane.api.patch("/api/v1/nodes/doomed/status", {"status": status})


def lose_a_node(scene: Scene) -> Callable[[], Any]:
    """Start a job on a node that will be lost, and return what holds when its next attempt has begun."""
    template = {"nodeSelector": LOST, "tolerations": [{**ONLY_FOR_THE_LOST, "operator": "Exists"}]}
    add_doomed_node(scene)
    scene.apply(make_job("unlucky", workers={"nodes": 1, "gpusPerNode": 0, "podTemplate": template}))
    pods = scene.wait_for(lambda: [pod for pod in scene.pods() if belongs(pod, "unlucky")], "no pod for a node to lose")

    def is_on_it() -> bool:
        keep_alive(scene)
        return bool(scene.get("pod", pods[0]["metadata"]["name"])["spec"].get("nodeName"))

    scene.wait_for(is_on_it, "it has no node")
    scene.run_pod(pods[0])
    return lambda: scene.status("unlucky").get("attempt", 0) > 0


def belongs(pod: Object, job: str) -> bool:
    return bool(pod["metadata"]["labels"][names.JOB_LABEL] == job)


def say_twice(scene: Scene) -> None:
    """Suspend a job twice: the second time, an Event is counted instead of written."""
    scene.apply(make_job("undecided", runPolicy={"suspend": True}))
    scene.wait_for_phase("Suspended", name="undecided")
    for suspend, phase in ((False, "WaitingForData"), (True, "Suspended")):
        scene.patch_job({"runPolicy": {"suspend": suspend}}, name="undecided")
        scene.wait_for_phase(phase, name="undecided")


def meet_a_stranger(scene: Scene) -> None:
    """Take the name of the Service of a job of two nodes before it can be created."""
    scene.apply(make_job(nodes=2, runPolicy={"ttlSecondsAfterFinished": 0}))
    scene.wait_for_phase("WaitingForData")
    name = names.service_name("lenet", scene.get("tj", "lenet")["metadata"]["uid"])
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": {"ports": [{"port": 80}]}}
    scene.apply(service)
    import_data(scene)
    scene.wait_for(lambda: scene.status().get("reason") == "NameTaken", "nobody meets the stranger")
    scene.kubectl("delete", "service", name)


def meet_a_strange_group(scene: Scene) -> None:
    """Take the name of the PodGroup of another job before it can be created."""
    scene.apply(make_job("taken"))
    scene.wait_for_phase("WaitingForData", name="taken")
    name = names.pod_group_name("taken", scene.get("tj", "taken")["metadata"]["uid"], attempt=0)
    api_version = f"{COSCHEDULING.group}/{COSCHEDULING.version}"
    stranger = {"apiVersion": api_version, "kind": "PodGroup", "metadata": {"name": name}}
    scene.control_plane.api.create(groups_path(COSCHEDULING, scene.namespace), stranger)


def wait_for_troubled_gangs(scene: Scene) -> None:
    scene.wait_for(lambda: scene.status("taken").get("reason") == "NameTaken", "nobody meets the strange group")
    scene.wait_for(
        lambda: not find_difference(SILENT, scene.status(SILENT.name)), "that no scheduler is there is not said"
    )


def import_data(scene: Scene) -> None:
    scene.apply(DATASET)
    [pod] = scene.wait_for_pods(role=names.IMPORT_ROLE)
    scene.run_pod(pod)
    scene.end_pod(pod, dataset=make_facts(pod))
    scene.wait_for_phase("Ready", name="digits", kind="datasets")


def fail_and_finish(scene: Scene) -> None:
    """Lose a pod of the job of two nodes, then bring it to its end, at which it goes."""
    pods = run_gang(scene, attempt=0)
    scene.end_pod(pods[1], outcome="Failed", exit_code=71, failure={"cause": "StorageFailed", "message": "gone"})
    for pod in run_gang(scene, attempt=1):
        scene.end_pod(pod, step=94, steps=94)
    scene.wait_for(lambda: not scene.status(), "the finished job does not go")


def run_gang(scene: Scene, *, attempt: int) -> list[Object]:
    """Run both pods of an attempt when they are there, which those of the one before make way for."""

    def find() -> list[Object]:
        scene.finish_deletions()
        place_gang(scene)
        return find_gang(scene, attempt)

    pods: list[Object] = scene.wait_for(find, f"the gang of attempt {attempt} is not there")
    for pod in pods:
        scene.run_pod(pod)
    scene.wait_for(lambda: scene.status().get("nodes") == 2, "the gang is not seen to run")
    return pods


def place_gang(scene: Scene) -> None:
    """Do what the scheduler would do to which gangs are handed over."""
    pods = [pod for pod in scene.pods() if belongs(pod, "lenet") and "deletionTimestamp" not in pod["metadata"]]
    handed_over = [pod for pod in pods if pod["spec"]["schedulerName"] == COSCHEDULING.scheduler]
    place_pods(scene, handed_over, node="paper-node")


def find_gang(scene: Scene, attempt: int) -> list[Object]:
    pods = [pod for pod in scene.pods() if belongs(pod, "lenet")]
    gang = [pod for pod in pods if pod["metadata"]["labels"][names.ATTEMPT_LABEL] == str(attempt)]
    return gang if len(gang) == 2 and all(pod["spec"].get("nodeName") for pod in gang) else []


def live(scene: Scene, *, sees_nodes: bool) -> None:
    say_twice(scene)
    if not sees_nodes:
        meet_a_strange_group(scene)
        scene.apply(make_job(SILENT.name))
    meet_a_stranger(scene)
    is_restarted = lose_a_node(scene) if sees_nodes else bool
    fail_and_finish(scene)
    if sees_nodes:
        scene.wait_for(is_restarted, "the lost node is not noticed")
        scene.kubectl("delete", "node", "doomed")
    else:
        wait_for_troubled_gangs(scene)


@pytest.fixture(scope="module", params=["cluster", "namespace"])
def life(
    request: pytest.FixtureRequest,
    control_plane: ControlPlane,
    paper_node: PaperNode,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Life]:
    """An operator of a whole cluster, or of one namespace that hands its gangs over, with what the chart grants it."""
    if control_plane.is_external:
        pytest.skip("NOT RUN: the audit log of an existing cluster is not ours to read")
    folder, is_namespaced = tmp_path_factory.mktemp("rights"), request.param == "namespace"
    namespace = control_plane.create_namespace(f"rights-{request.param}")
    scene = Scene(control_plane, control_plane.create_namespace(f"rights-of-{request.param}"), folder)
    served = scene.namespace if is_namespaced else ""
    handed_over = "coscheduling" if is_namespaced else ""
    values = (f"watchNamespace={served}", f"queue.podGroups={handed_over}")
    installed = install(control_plane, namespace=namespace, values=values)
    assert installed.returncode == 0, installed.stderr
    account = control_plane.kubeconfig_for_service_account(namespace, RELEASE)
    settings = {"LEASE_NAMESPACE": namespace, "LEASE_NAME": RELEASE, "POD_GROUPS": handed_over}
    with (
        pod_groups_defined(control_plane) if is_namespaced else nullcontext(),
        OperatorProcess(account, folder, namespace=served, settings=settings) as operator,
    ):
        live(scene, sees_nodes=not is_namespaced)
        operator.check()
        assert "Traceback" not in operator.read_log()
    pods = json.loads(scene.kubectl("get", "pods", "-o", "json"))["items"]
    yield Life(
        account=account,
        namespace=namespace,
        served=scene.namespace,
        granted=frozenset(read_granted(scene, namespace)),
        pods=tuple(pods),
        requests=control_plane.requests_of(f"system:serviceaccount:{namespace}:{RELEASE}"),
    )
    removed = uninstall(control_plane, namespace=namespace)
    assert removed.returncode == 0, removed.stderr


@contextmanager
def pod_groups_defined(control_plane: ControlPlane) -> Iterator[None]:
    api, path = control_plane.api, groups_path(COSCHEDULING, "default")
    api.create(DEFINITIONS, build_definition(COSCHEDULING))
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not api.exists(path):
        assert time.monotonic() < deadline, "the PodGroups are not served"
        time.sleep(0.1)
    yield
    api.delete(f"{DEFINITIONS}/{COSCHEDULING.definition}")


def used(life: Life, *, allowed: bool) -> set[str]:
    return {name_right(each.verb, each.group, each.resource) for each in life.requests if each.allowed is allowed}


def test_everything_that_is_granted_is_used(life: Life) -> None:
    assert life.granted - used(life, allowed=True) == set()


def test_everything_that_is_used_is_granted(life: Life) -> None:
    asked = {right for right in used(life, allowed=True) if not right.split(" ")[1].startswith("/")}

    assert asked - life.granted == EVERYBODYS


def test_nothing_is_asked_for_in_vain_but_what_an_operator_of_one_namespace_does_without(life: Life) -> None:
    refused = {each.resource for each in life.requests if not each.allowed}
    is_namespaced = "list nodes" not in life.granted

    # What the pods of others use is asked for once, if a pod found no node at first.
    assert refused - {"pods"} == (ASKED_IN_VAIN if is_namespaced else set())
    assert is_namespaced or not refused


def test_operator_of_one_namespace_acts_there_and_where_its_lease_is(life: Life) -> None:
    if "list nodes" in life.granted:
        places = {each.namespace for each in life.requests if each.verb in ("create", "delete", "update", "patch")}
        assert places >= {"", life.served, life.namespace}  # reviews of its own rights are in none
        return
    reached = {(each.resource, each.namespace) for each in life.requests if each.allowed}

    assert {place for _, place in reached} == {"", life.served, life.namespace}
    assert {resource for resource, place in reached if place == life.namespace} == {"leases"}
    assert not [resource for resource, place in reached if not place and not resource.startswith(("/", "selfsubject"))]


def test_no_pod_has_a_token_after_the_server_s_own_admission(life: Life) -> None:
    assert life.pods
    for pod in life.pods:
        volumes = [kind for volume in pod["spec"]["volumes"] for kind in volume if kind != "name"]
        assert set(volumes) <= {"persistentVolumeClaim", "emptyDir"}
        assert pod["spec"]["automountServiceAccountToken"] is False


FORBIDDEN: Mapping[str, list[str]] = {
    "secrets": ["get", "list", "watch", "create", "update", "patch", "delete"],
    "configmaps": ["get", "list", "create", "update"],
    "pods/exec": ["create"],
    "pods/ephemeralcontainers": ["update", "patch"],
    "pods": ["update", "patch", "deletecollection"],
    "serviceaccounts": ["get", "list", "create", "impersonate"],
    "serviceaccounts/token": ["create"],
    "roles.rbac.authorization.k8s.io": ["create", "bind", "escalate"],
    "clusterroles.rbac.authorization.k8s.io": ["create", "bind", "escalate"],
    "persistentvolumeclaims": ["delete", "update", "patch"],
    "persistentvolumes": ["get", "list", "create"],
    "nodes": ["update", "patch", "delete"],
    "namespaces": ["list", "create"],
}


def test_no_secret_is_readable_and_no_right_can_be_won(life: Life) -> None:
    allowed = set()
    for place in (life.served, life.namespace, "kube-system"):
        command = [str(kubectl_path()), "--kubeconfig", str(life.account), "auth", "can-i", "--list", "-n", place]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        for line in said.splitlines()[1:]:
            resource, verbs = line.split()[0], line.rpartition("[")[2].rstrip("]").split()
            forbidden = FORBIDDEN.get(resource, ["*"] if resource != "*.*" else verbs)
            allowed |= {f"{verb} {resource}" for verb in verbs if verb in {*forbidden, "*"}}

    assert allowed == set()
    assert not [each for each in life.requests if each.resource == "secrets"]
