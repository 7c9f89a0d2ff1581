"""A model that only its own code can judge is tried in a pod without GPUs, before its job takes any."""

from dataclasses import replace
from typing import Any

import pytest
from reconciling.job_states import (
    NOW,
    SETTINGS,
    condition,
    kinds,
    make_failure,
    make_object,
    make_record,
    make_spec,
    observe,
    plan,
    status_of,
)

from oarlock_api.contract import Cause
from oarlock_api.v1alpha1.status import JobPhase
from oarlock_operator import names, observing
from oarlock_operator.cluster.port import Object
from oarlock_operator.queueing.verdicts import Stand, Verdict
from oarlock_operator.reconcile.observed import ObservedJob, ObservedPod
from oarlock_operator.reconcile.training_job import plan_job

GPUS = {"nodes": 1, "gpusPerNode": 4}
OWN = {"python": {"module": "mine", "factory": "build"}}


def apply(model: dict[str, Any] | None = None, **fields: Any) -> ObservedJob:
    return observe(spec=make_spec(model=model or OWN, workers=GPUS), **fields)


def create(observed: ObservedJob) -> Object:
    (manifest,) = plan(observed).create
    return {**manifest, "metadata": {**manifest["metadata"], "uid": "check"}}


def end(observed: ObservedJob, **fields: Any) -> ObservedPod:
    pod = observing.observe_pod(create(observed)).pod
    return replace(pod, **{"phase": "Succeeded", "scheduled": True, "termination": make_record(), **fields})


def test_one_pod_without_gpus_is_created_and_nothing_else_when_a_model_is_the_users_own() -> None:
    planned = plan(apply())

    status = status_of(planned)
    (manifest,) = planned.create
    container = manifest["spec"]["containers"][0]
    assert (manifest["kind"], container["command"][-1]) == ("Pod", "check")
    assert "nvidia.com/gpu" not in container["resources"]["limits"]
    assert (status.phase, status.reason, status.run) == (JobPhase.WAITING_FOR_DATA, "ModelBeingChecked", None)
    assert condition(status, "ModelChecked") == ("False", "ModelBeingChecked")
    assert condition(status, "Admitted") is None


def test_the_job_is_accepted_and_its_pods_created_when_the_model_fits() -> None:
    fresh = apply()

    planned = plan(replace(fresh, pods=(end(fresh),)))

    assert status_of(planned).run
    assert condition(status_of(planned), "ModelChecked") is None
    assert status_of(planned).phase in (JobPhase.QUEUED, JobPhase.STARTING)


@pytest.mark.parametrize("cause", [Cause.CONFIG_INVALID, Cause.USER_ERROR])
def test_the_job_is_invalid_with_the_shapes_when_the_model_does_not_fit(cause: Cause) -> None:
    fresh = apply()
    said = "model mine.build does not take samples of shape [N, 1, 28, 28]"
    pod = end(fresh, phase="Failed", termination=make_failure(cause, said))

    planned = plan(replace(fresh, pods=(pod,)))

    status = status_of(planned)
    assert (status.phase, status.reason, status.run) == (JobPhase.INVALID, "ModelDoesNotFit", None)
    assert said in status.message
    assert f"delete pod {pod.name}" in status.message
    assert not planned.create
    assert condition(status, "Valid") == ("False", "InvalidSpec")


@pytest.mark.parametrize(
    "fields",
    [
        {"phase": "Failed", "termination": None, "container_reason": "OOMKilled"},
        {"phase": "Failed", "termination": make_failure(Cause.HUNG, "no beat for 300 s")},
        {"phase": "Running", "termination": None, "node": "node-0"},
    ],
)
def test_training_finds_out_and_that_is_said_when_the_check_gives_no_answer(fields: dict[str, Any]) -> None:
    fresh = apply(lost_nodes=frozenset({"node-0"}))
    accepted = replace(fresh, pods=(end(fresh, **fields),))

    status = status_of(plan(accepted))
    later = status_of(plan(replace(accepted, status=status.model_copy(update={"message": ""}), pods=())))

    assert status.run
    assert condition(status, "ModelChecked") == condition(later, "ModelChecked") == ("False", "NoAnswer")


def test_another_pod_checks_and_the_old_one_goes_when_the_spec_is_mended() -> None:
    fresh = apply()
    pod = end(fresh, phase="Failed", termination=make_failure(Cause.USER_ERROR))
    mended = make_spec(model={"python": {"module": "mine", "factory": "better"}}, workers=GPUS)

    planned = plan(replace(fresh, object=make_object(mended, generation=2), pods=(pod,)))

    assert kinds(planned) == ["Pod"]
    assert planned.create[0]["metadata"]["name"] != pod.name
    assert [deletion.reference.name for deletion in planned.delete] == [pod.name]


@pytest.mark.parametrize("waiting", ["ImagePullBackOff", "CreateContainerConfigError"])
def test_what_holds_up_the_check_is_said_when_its_pod_does_not_start(waiting: str) -> None:
    fresh = apply()
    pod = end(fresh, phase="Pending", termination=None, node="node-1", waiting_reason=waiting)

    status = status_of(plan(replace(fresh, pods=(pod,))))

    assert status.reason == "ModelBeingChecked"
    assert pod.name in status.message


def test_the_pod_goes_when_training_has_begun() -> None:
    fresh = apply(verdict=Verdict(stand=Stand.ADMITTED, reason="Admitted", message="there is room"))
    pod = end(fresh)
    accepted = replace(fresh, pods=(pod,), status=status_of(plan(replace(fresh, pods=(pod,)))))
    workers = (observing.observe_pod({**each}).pod for each in plan(accepted).create if each["kind"] == "Pod")
    running = replace(accepted, pods=(pod, *(replace(each, uid=each.name, phase="Running") for each in workers)))

    planned = plan(running)

    assert [deletion.reference.name for deletion in planned.delete] == [pod.name]


@pytest.mark.parametrize(
    ("spec", "settings"),
    [
        (make_spec(workers=GPUS), SETTINGS),
        (make_spec(model=OWN), SETTINGS),
        (make_spec(model=OWN, workers=GPUS), replace(SETTINGS, site="machine")),
    ],
    ids=["built in", "no GPU", "on one's own machine"],
)
def test_nothing_is_checked_when_that_would_save_nobody_a_gpu(spec: dict[str, Any], settings: Any) -> None:
    planned = plan_job(replace(observe(spec=spec), confirmed=True), now=NOW, settings=settings)

    assert status_of(planned).run
    roles = [each["metadata"]["labels"].get(names.ROLE_LABEL) for each in planned.create if each["kind"] == "Pod"]
    assert names.CHECK_ROLE not in roles
