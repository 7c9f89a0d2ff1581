"""A job whose pods fail on one node again and again goes elsewhere, and comes back when there is no elsewhere."""

from dataclasses import replace
from typing import Any

from reconciling.job_states import (
    NOW,
    after,
    end_pod,
    make_failure,
    make_spec,
    observe,
    plan,
    run_pod,
    status_after,
    status_of,
    train,
)

from oarlock_api.v1alpha1.status import ExcludedNode, FailureRecord, JobPhase
from oarlock_operator.policy.exclusion import FORGOTTEN_SECONDS, LIFTED_SECONDS
from oarlock_operator.queueing.verdicts import Stand, Verdict
from oarlock_operator.reconcile.observed import ObservedJob

FAULT = FailureRecord(attempt=0, cause="Hung", message="", node="node-0", time=after(-50))


def fail(*, usable_nodes: int | None = 5, **fields: Any) -> ObservedJob:
    """A job whose node has had one fault before, and now has another."""
    job = train(status={"failures": [FAULT]}, **fields)
    hung = end_pod(job.pods[0], exit_code=83, record=make_failure("Hung"))
    return replace(job, pods=(hung, *job.pods[1:]), usable_nodes=usable_nodes)


def restarted(**fields: Any) -> ObservedJob:
    """The same job with the old pods gone and the back-off over."""
    job = fail(**fields)
    status = status_of(plan(job)).model_copy(update={"retry_after": after(0)})
    return replace(job, status=status, pods=(), report=None)


def terms_of(manifest: dict[str, Any]) -> Any:
    required = "requiredDuringSchedulingIgnoredDuringExecution"
    return manifest["spec"]["affinity"]["nodeAffinity"][required]["nodeSelectorTerms"]


def test_pods_of_the_next_attempt_avoid_a_node_after_two_faults() -> None:
    job = restarted()

    pod = plan(job, now=NOW + 1).create[-1]

    [found] = job.status.excluded_nodes
    assert (found.node, found.reason, found.since) == ("node-0", "2 faults: Hung", after(0))
    assert terms_of(pod)[0]["matchFields"][0]["values"] == ["node-0"]


def test_no_node_is_avoided_when_it_is_the_only_one() -> None:
    assert status_of(plan(fail(usable_nodes=1))).excluded_nodes == []


def test_gpu_job_avoids_no_node_when_the_others_are_too_few() -> None:
    workers = {"nodes": 2, "gpusPerNode": 8}

    assert status_of(plan(fail(usable_nodes=2, spec=make_spec(workers=workers)))).excluded_nodes == []
    assert status_of(plan(fail(usable_nodes=3, spec=make_spec(workers=workers)))).excluded_nodes != []


def start_without_room() -> ObservedJob:
    job = restarted()
    planned = plan(job, now=NOW + 1)
    pod = end_pod(fail().pods[0])
    name = planned.create[-1]["metadata"]["name"]
    waiting = replace(
        pod, name=name, uid="new", attempt=1, phase="Pending", scheduled=False, node="", exit_code=None, finished=None
    )
    waiting = replace(waiting, termination=None, unschedulable="0/5 nodes are available", created=NOW + 1, started=None)
    return replace(job, status=status_of(planned), pods=(waiting,))


def test_nodes_are_avoided_no_longer_when_there_is_no_room_without_them() -> None:
    job = start_without_room()

    waiting, lifted = plan(job, now=NOW + 2), plan(job, now=NOW + 1 + LIFTED_SECONDS)

    assert waiting.wake_at == NOW + 1 + LIFTED_SECONDS
    status = status_of(lifted)
    assert (status.phase, status.reason, status.attempt) == (JobPhase.RESTARTING, "ExclusionLifted", 2)
    assert (status.excluded_nodes, status.counted_restarts) == ([], 0)
    assert [deletion.uid for deletion in lifted.delete] == ["new"]
    assert "there was no room without the nodes that were avoided" in status.message


def test_nodes_stay_avoided_while_there_is_room() -> None:
    job = start_without_room()
    placed = run_pod(job.pods[0], unschedulable="", node="node-1")

    assert status_of(plan(replace(job, pods=(placed,)), now=NOW + 900)).excluded_nodes == job.status.excluded_nodes


def test_old_exclusion_keeps_no_new_pod_from_a_node() -> None:
    pod = plan(restarted(), now=NOW + FORGOTTEN_SECONDS + 1).create[-1]

    assert "affinity" not in pod["spec"]


def test_pods_that_avoid_a_node_are_replaced_though_its_exclusion_is_over() -> None:
    job = start_without_room()

    lifted = plan(job, now=NOW + FORGOTTEN_SECONDS + 1)

    assert status_of(lifted).reason == "ExclusionLifted"


AVOIDED = ExcludedNode(node="node-0", reason="2 faults: Hung", since=after(-60))
KEPT_OUT = Verdict(
    stand=Stand.WAITING, reason="NoSuchNodes", message="1st in the queue; never fits", position=1, avoids_too_much=True
)


def wait_in_queue(verdict: Verdict = KEPT_OUT, *, excluded: tuple[ExcludedNode, ...] = (AVOIDED,)) -> ObservedJob:
    job = observe(spec=make_spec(workers={"nodes": 1, "gpusPerNode": 8}), verdict=replace(verdict, reason="Queued"))
    status = status_after(job).model_copy(update={"excluded_nodes": list(excluded)})
    return replace(job, status=status, verdict=verdict)


def test_nodes_are_avoided_no_longer_when_a_queued_job_fits_nowhere_else() -> None:
    job = wait_in_queue()

    planned = plan(job)

    status = status_of(planned)
    assert (status.phase, status.reason, status.excluded_nodes) == (JobPhase.QUEUED, "ExclusionLifted", [])
    assert "it fits nowhere without the nodes that it avoids (node-0), and may use them again" in status.message
    assert [event.message for event in planned.events] == [status.message]
    assert plan(replace(job, status=status)).status is None, "until the queue has decided anew, there is no more to say"


def test_nodes_stay_avoided_while_a_queued_job_fits_elsewhere() -> None:
    waiting = replace(KEPT_OUT, reason="WaitingForCapacity", avoids_too_much=False)

    assert status_of(plan(wait_in_queue(waiting))).excluded_nodes == [AVOIDED]
