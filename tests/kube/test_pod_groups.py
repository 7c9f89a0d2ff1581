"""Gangs that are handed over to Volcano, on a real API server with its kind of PodGroup and a stand-in for its scheduler.

No Volcano runs here: what it would do is done by the tests, by the documents of its API.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from faults.fault import find_difference
from faults.gang_faults import GANG_FAULTS
from kube.operator_process import OperatorProcess
from kube.paper_node import PaperNode
from kube.pod_group_definitions import DEFINITIONS, build_definition, find_scheduler, groups_path, place_pods
from kube.scene import Object, Scene, attempt_of, make_job

from control_plane.server import ControlPlane
from oarlock_operator import names
from oarlock_operator.cluster.permissions import pod_group_rights

pytestmark = [pytest.mark.kube, pytest.mark.xdist_group("kube")]

VOLCANO = find_scheduler("volcano")
WORDS = "2/2 tasks in gang unschedulable: pod group is not ready, 2 Pending, 2 minAvailable"
MISSING, WITHOUT_ROOM = "pod-groups-missing", "group-without-room"


@dataclass(frozen=True, kw_only=True, slots=True)
class Volcano:
    """A namespace whose gangs are handed over, and what its scheduler does there."""

    scene: Scene
    node: str
    named: dict[str, Object] = field(default_factory=dict)
    """The status of each fault's job, once it named the fault."""

    def gang(self, job: str, *, attempt: int = 0) -> list[Object]:
        """Return the pods of an attempt that are not on their way out."""
        pods = [pod for pod in self.scene.pods() if pod["metadata"]["labels"][names.JOB_LABEL] == job]
        return [pod for pod in pods if attempt_of(pod) == attempt and "deletionTimestamp" not in pod["metadata"]]

    def wait_for_gang(self, job: str, pods: int, *, attempt: int = 0) -> list[Object]:
        def find() -> list[Object] | None:
            self.scene.finish_deletions()
            found = self.gang(job, attempt=attempt)
            return found if len(found) == pods else None

        found: list[Object] = self.scene.wait_for(find, f"job {job} has not {pods} pods in attempt {attempt}")
        return found

    def groups(self, job: str) -> dict[str, Object]:
        groups = self.scene.control_plane.api.get(groups_path(VOLCANO, self.scene.namespace))["items"]
        return {each["metadata"]["name"]: each for each in groups if each["metadata"]["labels"][names.JOB_LABEL] == job}

    def say(self, job: str, **status: Any) -> None:
        """Write into the only group of a job, as the scheduler does."""
        [name] = self.groups(job)
        self.scene.control_plane.api.patch(groups_path(VOLCANO, self.scene.namespace, name), {"status": status})

    def wait_for_fault(self, name: str) -> None:
        [fault] = [fault for fault in GANG_FAULTS if fault.name == name]

        def is_named() -> bool:
            self.named[name] = self.scene.status(name)
            return not find_difference(fault, self.named[name])

        self.scene.wait_for(is_named, f"job {name} does not say what it should")


@pytest.fixture(scope="module")
def volcano(control_plane: ControlPlane, account: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Volcano]:
    folder = tmp_path_factory.mktemp("pod-groups")
    scene = Scene(control_plane, control_plane.create_namespace("pod-groups"), folder)
    grant_pod_groups(scene)
    with ExitStack() as stack:
        node = stack.enter_context(PaperNode(control_plane.kubeconfig, folder / "node", name="gang-node"))
        operator = OperatorProcess(
            account, folder / "operator", namespace=scene.namespace, settings={"POD_GROUPS": "volcano"}
        )
        stack.enter_context(operator)
        scene.apply(
            make_job(MISSING),
            make_job(WITHOUT_ROOM, nodes=2, runPolicy={"queue": "team-a"}),
            make_job("gang", nodes=2, runPolicy={"gracePeriodSeconds": 5}),
        )
        scene.import_data()
        found = Volcano(scene=scene, node=node.name)
        found.wait_for_fault(MISSING)
        assert "podgroups.scheduling.volcano.sh is not installed" in operator.read_log()
        stack.callback(control_plane.api.ask, "DELETE", f"{DEFINITIONS}/{VOLCANO.definition}")
        control_plane.api.create(DEFINITIONS, build_definition(VOLCANO))
        yield found
        operator.check()
        assert "Traceback" not in operator.read_log()


def grant_pod_groups(scene: Scene) -> None:
    """Grant in this namespace what the chart grants where gangs are handed over; tests of the chart compare the two."""
    verbs = [right.verb for right in pod_group_rights(VOLCANO)]
    rules = [{"apiGroups": [VOLCANO.group], "resources": ["podgroups"], "verbs": verbs}]
    metadata, kind = {"name": "pod-groups"}, "rbac.authorization.k8s.io"
    subject = {"kind": "Group", "name": "system:serviceaccounts", "apiGroup": kind}
    path = f"/apis/{kind}/v1/namespaces/{scene.namespace}"
    api = scene.control_plane.api
    api.create(f"{path}/roles", {"metadata": metadata, "rules": rules})
    role = {"apiGroup": kind, "kind": "Role", "name": "pod-groups"}
    api.create(f"{path}/rolebindings", {"metadata": metadata, "roleRef": role, "subjects": [subject]})


def test_gang_gets_a_group_that_its_pods_name_and_waits_for_another_scheduler(volcano: Volcano) -> None:
    pods = volcano.wait_for_gang(WITHOUT_ROOM, 2)
    [(name, group)] = volcano.groups(WITHOUT_ROOM).items()

    assert {pod["metadata"]["annotations"]["scheduling.k8s.io/group-name"] for pod in pods} == {name}
    assert {pod["spec"]["schedulerName"] for pod in pods} == {"volcano"}
    assert (group["spec"]["minMember"], group["spec"]["queue"]) == (2, "team-a")
    assert group["metadata"]["ownerReferences"][0]["kind"] == "TrainingJob"

    condition = {"type": "Unschedulable", "status": "True", "reason": "NotEnoughResources", "message": WORDS}
    volcano.say(WITHOUT_ROOM, phase="Inqueue", conditions=[condition])
    volcano.wait_for_fault(WITHOUT_ROOM)
    assert WORDS in volcano.named[WITHOUT_ROOM]["message"]


def test_gang_goes_on_once_it_is_placed_and_its_next_attempt_has_a_group_of_its_own(volcano: Volcano) -> None:
    scene, pods = volcano.scene, volcano.wait_for_gang("gang", 2)
    [first] = volcano.groups("gang")
    place_pods(scene, pods, node=volcano.node)
    for pod in pods:
        scene.run_pod(pod)
    scene.wait_for(lambda: scene.status("gang").get("phase") == "Rendezvous", "the gang does not meet")

    scene.end_pod(pods[1], outcome="Failed", exit_code=71, failure={"cause": "StorageFailed", "message": "gone"})
    again = volcano.wait_for_gang("gang", 2, attempt=1)
    [second] = wait_for(volcano, lambda: len(volcano.groups("gang")) == 1, "gang")
    assert (first[-2:], second[-2:]) == ("-0", "-1")

    place_pods(scene, again, node=volcano.node)
    for pod in again:
        scene.run_pod(pod)
        scene.end_pod(pod, step=94, steps=94)
    scene.wait_for_phase("Succeeded", name="gang")
    assert not wait_for(volcano, lambda: not volcano.groups("gang"), "gang")


def wait_for(volcano: Volcano, holds: Callable[[], bool], job: str) -> list[str]:
    """Return the names of a job's groups when it has those that it should."""
    volcano.scene.wait_for(holds, f"job {job} has groups that are over")
    return list(volcano.groups(job))


def test_job_that_waited_for_the_kind_starts_once_it_is_installed(volcano: Volcano) -> None:
    assert volcano.named[MISSING]["reason"] == "PodGroupsMissing"
    assert volcano.wait_for_gang(MISSING, 1)
