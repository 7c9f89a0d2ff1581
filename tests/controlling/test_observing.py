from typing import Any

import pytest

from oarlock_api.contract import TerminationRecord
from oarlock_operator import names, observing
from oarlock_operator.policy.times import parse_time

CREATED = "2026-11-21T20:00:00Z"
CREATED_SECONDS = 1_795_291_200.0


def make_pod(**status: Any) -> dict[str, Any]:
    return {
        "kind": "Pod",
        "metadata": {
            "name": "job-1234-2-0",
            "namespace": "ns",
            "uid": "pod-uid",
            "creationTimestamp": CREATED,
            "labels": {names.ATTEMPT_LABEL: "2", names.RANK_LABEL: "0", names.JOB_LABEL: "job"},
            "annotations": {names.RUN_HASH_ANNOTATION: "hash"},
            "ownerReferences": [{"kind": "TrainingJob", "name": "job", "uid": "job-uid", "controller": True}],
        },
        "spec": {
            "nodeName": "node-1",
            "containers": [{"name": "trainer", "ports": [{"name": "status", "containerPort": 8470}]}],
        },
        "status": status,
    }


def ended(**terminated: Any) -> dict[str, Any]:
    return {"containerStatuses": [{"name": "trainer", "state": {"terminated": terminated}}]}


def test_pod_is_observed_whole_when_it_runs() -> None:
    state = {"running": {"startedAt": "2026-11-21T20:00:05+00:00"}}
    pod = make_pod(phase="Running", podIP="10.0.0.1", containerStatuses=[{"name": "trainer", "state": state}])

    seen = observing.observe_pod(pod)

    assert seen.status_port == 8470
    assert (seen.pod.owner_uid, seen.pod.attempt, seen.pod.rank, seen.pod.run_hash) == ("job-uid", 2, 0, "hash")
    assert (seen.pod.node, seen.pod.ip, seen.pod.scheduled) == ("node-1", "10.0.0.1", True)
    assert (seen.pod.created, seen.pod.started) == (CREATED_SECONDS, CREATED_SECONDS + 5)


def test_termination_record_is_observed_when_it_is_of_this_pods_run() -> None:
    record = TerminationRecord(job_uid="job-uid", run_hash="hash", attempt=2, node=0, outcome="Succeeded")

    seen = observing.observe_pod(make_pod(phase="Succeeded", **ended(exitCode=0, message=record.to_json())))

    assert seen.pod.termination == record


def test_termination_record_is_noted_when_it_is_of_another_attempt() -> None:
    record = TerminationRecord(job_uid="job-uid", run_hash="hash", attempt=1, node=0, outcome="Succeeded")

    seen = observing.observe_pod(make_pod(phase="Succeeded", **ended(exitCode=0, message=record.to_json())))

    assert seen.pod.termination is None
    assert "attempt" in seen.note


@pytest.mark.parametrize(
    ("terminated", "signal"),
    [({"exitCode": 137}, 9), ({"exitCode": 0, "signal": 15}, 15), ({"exitCode": 71}, None), ({"exitCode": 128}, None)],
)
def test_signal_is_found_when_the_runtime_leaves_it_to_the_exit_code(
    terminated: dict[str, Any], signal: int | None
) -> None:
    assert observing.observe_pod(make_pod(**ended(**terminated))).pod.signal == signal


def test_waiting_reason_is_the_telling_one_when_several_containers_wait() -> None:
    waiting = {"reason": "ImagePullBackOff", "message": "no such image\x1b[0m"}
    pod = make_pod(
        initContainerStatuses=[{"name": "agent", "state": {"waiting": waiting}}],
        containerStatuses=[{"name": "trainer", "state": {"waiting": {"reason": "PodInitializing"}}}],
    )

    seen = observing.observe_pod(pod).pod

    assert (seen.waiting_reason, seen.waiting_message) == ("ImagePullBackOff", "no such image[0m")


def test_scheduler_is_quoted_when_there_is_no_room() -> None:
    no_room = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"}
    pod = make_pod(phase="Pending", conditions=[no_room])
    del pod["spec"]["nodeName"]

    seen = observing.observe_pod(pod).pod

    assert (seen.scheduled, seen.unschedulable, seen.scheduled_at) == (False, "0/3 nodes", None)


def test_deletion_and_disruption_are_observed() -> None:
    pod = make_pod(reason="Evicted", conditions=[{"type": "DisruptionTarget", "status": "True", "reason": "Preempted"}])
    pod["metadata"]["deletionTimestamp"] = "2026-11-21T20:02:00Z"

    seen = observing.observe_pod(pod).pod

    assert (seen.deleting, seen.delete_by) == (True, CREATED_SECONDS + 120)
    assert (seen.pod_reason, seen.disruption) == ("Evicted", "Preempted")


def test_pod_of_somebody_else_is_observed_when_it_has_nothing_of_ours() -> None:
    seen = observing.observe_pod({"metadata": {"name": "x", "labels": {names.ATTEMPT_LABEL: "first"}}})

    assert (seen.pod.owner_uid, seen.pod.attempt, seen.pod.rank, seen.status_port) == ("", -1, -1, 0)


@pytest.mark.parametrize("text", ["", None, "yesterday", "2026-13-01T00:00:00Z"])
def test_time_is_absent_when_it_is_none(text: str | None) -> None:
    assert parse_time(text) is None


@pytest.mark.parametrize(("status", "is_ready"), [("True", True), ("False", False), ("Unknown", False)])
def test_node_is_ready_only_when_its_condition_says_so(status: str, is_ready: bool) -> None:  # noqa: FBT001
    raw = {"metadata": {"name": "n"}, "status": {"conditions": [{"type": "Ready", "status": status}]}}

    assert observing.observe_node(raw).is_ready is is_ready


def test_node_says_whom_it_takes_and_what_it_has() -> None:
    spec = {"unschedulable": True, "taints": [{"key": "gpu", "value": "reserved", "effect": "NoSchedule"}]}
    allocatable = {"cpu": "7900m", "memory": "16Gi", "nvidia.com/gpu": "8", "odd": "?"}

    node = observing.observe_node({"metadata": {"name": "n"}, "spec": spec, "status": {"allocatable": allocatable}})

    assert (node.is_cordoned, [str(taint) for taint in node.taints]) == (True, ["gpu=reserved:NoSchedule"])
    assert node.allocatable == {"cpu": 7.9, "memory": 2.0**34, "nvidia.com/gpu": 8.0, "odd": 0.0}


def test_claims_are_found_wherever_they_are_named() -> None:
    raw = {
        "spec": {
            "checkpoints": {"volume": {"claim": "a"}},
            "workers": {"podTemplate": {"volumes": [{"claim": "b"}, {"secret": "s"}, "nonsense"]}},
        },
        "status": {"run": {"dataset": {"claim": "c"}}, "checkpoint": {"claim": "d"}},
    }

    assert observing.find_claims(raw) == {"a", "b", "c", "d"}


@pytest.mark.parametrize("spec", [None, [], "text", {"checkpoints": []}, {"workers": {"podTemplate": {"volumes": 3}}}])
def test_no_claims_are_found_when_the_spec_is_nonsense(spec: Any) -> None:
    assert observing.find_claims({"spec": spec}) == frozenset()


def test_warning_is_observed_from_both_forms_of_events() -> None:
    core = {"involvedObject": {"kind": "Pod", "uid": "u"}, "reason": "FailedMount", "message": "no such volume"}
    new = {"regarding": {"kind": "Pod", "uid": "u"}, "reason": "FailedMount", "note": "no such volume"}

    assert observing.observe_warning(core) == observing.observe_warning(new)
    assert observing.observe_warning(core).message == "FailedMount: no such volume"
