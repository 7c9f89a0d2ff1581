"""A gang that is handed over to a scheduler of PodGroups: what is created for it, said of it, and deleted again."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from reconciling.job_states import (
    JOB_UID,
    NOW,
    SETTINGS,
    accept,
    after,
    condition,
    kinds,
    make_failure,
    make_pod,
    make_spec,
    names_of,
    observe,
    run_pod,
    status_of,
    train,
)

from oarlock_api.v1alpha1.status import JobPhase, TrainingJobStatus
from oarlock_operator.names import pod_group_name
from oarlock_operator.queueing.verdicts import Stand, Verdict
from oarlock_operator.reconcile.observed import ObservedJob, ObservedPodGroup, Refusal
from oarlock_operator.reconcile.plans import Plan
from oarlock_operator.reconcile.training_job import plan_job

VOLCANO = replace(SETTINGS, pod_groups="volcano")
COSCHEDULING = replace(SETTINGS, pod_groups="coscheduling", pod_group_scheduler="gangs")
HANDED_OVER = Verdict(stand=Stand.ADMITTED, reason="QueuedByVolcano", message="Volcano decides")
MISSING = Verdict(stand=Stand.WAITING, reason="PodGroupsMissing", message="Volcano is not installed")
GANG = make_spec(workers={"nodes": 2, "gpusPerNode": 8, "resources": {"cpu": 1.5, "memory": "2Gi"}})
NAME = pod_group_name("lenet", JOB_UID, attempt=0)


def plan(observed: ObservedJob, *, now: float = NOW, settings: Any = VOLCANO) -> Plan:
    """Plan as the controller does: what has to be confirmed is found as it was believed."""
    first = plan_job(observed, now=now, settings=settings)
    return plan_job(replace(observed, confirmed=True), now=now, settings=settings) if first.confirm else first


def hand_over(spec: Mapping[str, Any] = GANG, **fields: Any) -> ObservedJob:
    return observe(spec=spec, **{"verdict": HANDED_OVER, "pod_groups": (), **fields})


def make_group(*, attempt: int = 0, **fields: Any) -> ObservedPodGroup:
    name = pod_group_name("lenet", JOB_UID, attempt=attempt)
    return ObservedPodGroup(
        **{"name": name, "uid": f"group-{attempt}", "owner_uid": JOB_UID, "attempt": attempt, **fields}
    )


def wait(spec: Mapping[str, Any] = GANG, *, group: ObservedPodGroup | None = None, **fields: Any) -> ObservedJob:
    """A job whose pods and group were just created."""
    job = hand_over(spec)
    status = status_of(plan(job))
    there = accept(spec=spec, verdict=HANDED_OVER)
    pods = tuple(make_pod(pod.rank, status=status, pod_group=NAME, **fields) for pod in there.pods)
    return replace(there, status=status, pods=pods, pod_groups=(group or make_group(),))


def say(observed: ObservedJob, *, now: float = NOW) -> TrainingJobStatus:
    return status_of(plan(observed, now=now))


def groups_deleted(planned: Plan) -> list[str]:
    return [each.reference.name for each in planned.delete if each.reference.kind == "PodGroup"]


def test_volcano_gets_a_group_of_all_pods_before_any_of_them() -> None:
    spec = {**GANG, "runPolicy": {"queue": "team-a"}}
    spec["workers"] = {**GANG["workers"], "podTemplate": {"priorityClassName": "high"}}

    planned = plan(hand_over(spec))

    assert kinds(planned) == ["PersistentVolumeClaim", "Service", "PodGroup", "Pod", "Pod"]
    group, *pods = planned.create[2:]
    assert (group["apiVersion"], group["metadata"]["name"]) == ("scheduling.volcano.sh/v1beta1", NAME)
    assert group["metadata"]["ownerReferences"][0]["uid"] == JOB_UID
    resources = {"cpu": "3", "memory": str(4 * 2**30), "nvidia.com/gpu": "16"}
    assert group["spec"] == {"minMember": 2, "minResources": resources, "queue": "team-a", "priorityClassName": "high"}
    assert {pod["spec"]["schedulerName"] for pod in pods} == {"volcano"}
    assert {pod["metadata"]["annotations"]["scheduling.k8s.io/group-name"] for pod in pods} == {NAME}
    assert not any("kueue" in label for pod in pods for label in pod["metadata"]["labels"])


def test_coscheduling_gets_a_group_and_pods_that_it_is_named_by() -> None:
    spec = make_spec(workers={"nodes": 1, "podTemplate": {"labels": {"scheduling.x-k8s.io/pod-group": "mine"}}})

    planned = plan(hand_over(spec), settings=COSCHEDULING)

    group, pod = planned.create[1:]
    assert (group["apiVersion"], group["spec"]["minMember"]) == ("scheduling.x-k8s.io/v1alpha1", 1)
    assert "queue" not in group["spec"]
    assert (pod["spec"]["schedulerName"], pod["metadata"]["labels"]["scheduling.x-k8s.io/pod-group"]) == ("gangs", NAME)


def test_coscheduling_leaves_the_queue_to_kueue() -> None:
    planned = plan(hand_over({**GANG, "runPolicy": {"queue": "team-a"}}), settings=COSCHEDULING)

    assert planned.create[-1]["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "team-a"
    assert kinds(planned).count("PodGroup") == 1


def test_nothing_is_created_while_the_kind_is_not_installed() -> None:
    planned = plan(hand_over(make_spec(), verdict=MISSING))

    status = status_of(planned)
    assert (status.phase, status.reason, kinds(planned)) == (JobPhase.QUEUED, "PodGroupsMissing", [])
    assert planned.wake_at


def test_job_that_held_its_place_says_it_too_when_the_kind_goes() -> None:
    refused = {NAME: Refusal(message="404 page not found", time=NOW, status=404)}

    planned = plan(replace(hand_over(), refusals=refused))

    assert (status_of(planned).reason, kinds(planned)) == ("PodGroupsMissing", [])
    assert "have the administrator empty queue.podGroups" in status_of(planned).message


def test_waiting_gang_repeats_what_the_scheduler_says_of_the_group() -> None:
    words = "2/2 tasks in gang unschedulable: pod group is not ready, 2 minAvailable."
    waiting = wait({**GANG, "runPolicy": {"queue": "team-a"}}, group=make_group(phase="Inqueue", message=words))

    status = say(waiting)

    assert (status.phase, status.reason) == (JobPhase.QUEUED, "QueuedByVolcano")
    assert condition(status, "Admitted") == ("False", "QueuedByVolcano")
    assert f"in queue team-a: PodGroup {NAME} is Inqueue: 2/2 tasks in gang unschedulable" in status.message
    assert f"`kubectl describe podgroups.scheduling.volcano.sh {NAME}`" in status.message


def test_waiting_gang_repeats_what_the_scheduler_says_of_its_pods() -> None:
    waiting = wait(unschedulable="0/3 nodes are available: 3 Insufficient nvidia.com/gpu.")

    assert f"no node for pod {waiting.pods[0].name}: it needs 8 nvidia.com/gpu" in say(waiting).message


def test_scheduler_that_says_nothing_may_not_be_there() -> None:
    waiting = wait()
    soon = plan(waiting)
    assert (status_of(soon).reason, soon.wake_at) == ("QueuedByVolcano", NOW + 10)

    status = say(waiting, now=NOW + 10)
    assert (status.phase, status.reason) == (JobPhase.QUEUED, "SchedulerSilent")
    assert f"scheduler volcano has said nothing of PodGroup {NAME} and its pods" in status.message
    assert "its queue default is there and open" in status.message


def test_trouble_that_no_scheduler_can_mend_is_said_as_ever() -> None:
    waiting = wait(unschedulable='0/1 nodes are available: persistentvolumeclaim "gone" not found.')

    assert (say(waiting).phase, say(waiting).reason) == (JobPhase.STARTING, "ClaimMissing")


def test_job_goes_on_as_usual_once_its_pods_have_nodes() -> None:
    waiting = wait()
    queued = replace(waiting, status=say(waiting))

    status = say(replace(queued, pods=tuple(run_pod(pod) for pod in queued.pods)))

    assert status.phase is JobPhase.RENDEZVOUS
    assert condition(status, "Admitted") == ("True", "QueuedByVolcano")


def test_group_is_renewed_with_the_attempt() -> None:
    waiting = wait()
    running = replace(waiting, pods=tuple(run_pod(pod) for pod in waiting.pods))
    failed = replace(
        running.pods[0], phase="Failed", exit_code=1, finished=NOW, termination=make_failure("ProcessKilled")
    )
    ended = replace(running, status=say(running), pods=(failed, *running.pods[1:]))

    planned = plan(ended, now=NOW + 60)
    assert (status_of(planned).attempt, groups_deleted(planned)) == (1, [NAME])

    again = replace(ended, status=status_of(planned), pods=(), pod_groups=())
    assert f"{NAME[:-1]}1" in names_of(plan(again, now=NOW + 600).create)


def test_old_group_is_deleted_whatever_the_job_does_and_only_after_it_was_read_live() -> None:
    waiting = wait()
    both = replace(waiting, pod_groups=(make_group(), make_group(attempt=7)))

    first = plan_job(both, now=NOW, settings=VOLCANO)
    assert first.confirm
    assert (first.delete, first.status) == ((), None)
    assert groups_deleted(plan(both)) == [f"{NAME[:-1]}7"]


@pytest.mark.parametrize(
    "group", [{"owner_uid": "other", "attempt": 7}, {"deleting": True, "attempt": 7}], ids=["stranger", "going"]
)
def test_group_is_left_alone_when_it_is_not_ours_or_goes_already(group: dict[str, Any]) -> None:
    waiting = wait()

    assert groups_deleted(plan(replace(waiting, pod_groups=(make_group(), make_group(**group))))) == []


def test_suspended_job_holds_no_group() -> None:
    waiting = wait()
    suspended = replace(waiting, object=replace(waiting.object, spec={**GANG, "runPolicy": {"suspend": True}}))

    assert groups_deleted(plan(suspended)) == [NAME]


def test_group_that_somebody_deleted_is_made_again() -> None:
    waiting = wait()

    planned = plan(replace(waiting, pod_groups=()))

    assert (status_of(planned).phase, kinds(planned)) == (JobPhase.QUEUED, ["PodGroup"])
    assert kinds(plan(replace(waiting, pod_groups=None))) == [], "it may only not be listed yet"


def test_gang_that_waits_says_that_its_group_cannot_be_made_again() -> None:
    refused = {NAME: Refusal(message="404 page not found", time=NOW, status=404)}

    planned = plan(replace(wait(), pod_groups=(), refusals=refused))

    assert (status_of(planned).phase, status_of(planned).reason) == (JobPhase.QUEUED, "PodGroupsMissing")
    assert (kinds(planned), planned.wake_at) == ([], NOW + 30)


def test_nothing_new_is_said_by_an_operator_that_has_not_listed_the_groups_yet() -> None:
    told = wait(group=make_group(phase="Inqueue", message="2/2 tasks in gang unschedulable"))
    waiting = replace(told, status=say(told))

    assert plan(replace(waiting, pod_groups=None), now=NOW + 600).status is None


def test_attempt_that_began_without_a_group_goes_on_without() -> None:
    begun = replace(accept(spec=GANG, verdict=HANDED_OVER), pod_groups=())
    assert "PodGroup" not in kinds(plan(begun))

    planned = plan(replace(begun, pods=begun.pods[:1]))
    [pod] = [each for each in planned.create if each["kind"] == "Pod"]
    assert "PodGroup" not in kinds(planned)
    assert "schedulerName" not in pod["spec"]


@pytest.mark.parametrize(
    ("group", "reason"),
    [({"owner_uid": "other"}, "NameTaken"), ({"deleting": True}, "PodGroupTerminating")],
    ids=["somebody-elses", "going"],
)
def test_name_that_is_not_free_is_waited_for(group: dict[str, Any], reason: str) -> None:
    planned = plan(hand_over(pod_groups=(make_group(**group),)))

    assert (status_of(planned).reason, kinds(planned)) == (reason, [])
    assert f"podgroup {NAME}" in status_of(planned).message


def test_template_with_another_scheduler_is_refused() -> None:
    spec = make_spec(workers={"nodes": 1, "podTemplate": {"schedulerName": "mine"}})

    status = status_of(plan(hand_over(spec)))

    assert status.phase is JobPhase.INVALID
    assert "spec.workers.podTemplate.schedulerName must be volcano, to which the administrator has handed over" in (
        status.message
    )


def test_template_with_the_same_scheduler_is_taken() -> None:
    spec = make_spec(workers={"nodes": 1, "podTemplate": {"schedulerName": "volcano"}})

    assert kinds(plan(hand_over(spec)))[-1] == "Pod"


def test_elastic_gang_is_handed_over_whole_and_sends_no_scouts() -> None:
    elastic = {"nodes": 2, "gpusPerNode": 8, "elastic": {"minNodes": 1, "maxNodes": 4}}
    training = train(spec=make_spec(workers=elastic), verdict=HANDED_OVER)
    pods = tuple(replace(pod, pod_group=NAME) for pod in training.pods)
    more = make_spec(workers={**elastic, "nodes": 4})
    asked = replace(training, pods=pods, pod_groups=(make_group(),), object=replace(training.object, spec=more))

    planned = plan(asked, now=NOW + 400)

    assert status_of(planned).gang
    assert (status_of(planned).attempt, groups_deleted(planned)) == (1, [NAME])
    again = replace(asked, status=status_of(planned), pods=(), pod_groups=())
    groups = [each for each in plan(again, now=NOW + 500).create if each["kind"] == "PodGroup"]
    assert [group["spec"]["minMember"] for group in groups] == [4]


def test_exclusions_are_lifted_of_a_gang_that_waits_as_of_any_other() -> None:
    waiting = wait(unschedulable="0/3 nodes are available: 3 Insufficient nvidia.com/gpu.")
    excluded = {"node": "node-0", "reason": "2 faults: Hung", "since": after(-60)}
    status = TrainingJobStatus.from_wire({**waiting.status.to_wire(), "excludedNodes": [excluded]})

    assert plan(replace(waiting, status=status)).wake_at == NOW + 60
