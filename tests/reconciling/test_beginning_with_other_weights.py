"""A job that begins with the weights of another one."""

from typing import Any

import pytest
from reconciling.job_states import NOW, make_object, make_spec, observe, plan, status_of

from oarlock_api import contract
from oarlock_api.v1alpha1.status import Checkpoints, CheckpointStatus, JobPhase, TrainingJobStatus
from oarlock_operator.reconcile.observed import ObservedEarlierJob

SAVED = Checkpoints(
    claim="weights",
    latest=CheckpointStatus(step=4, epoch=1, path="checkpoints/step-000000004", bytes=9, time="2026-11-22T06:00:00Z"),
)


def make_earlier(phase: JobPhase = JobPhase.SUCCEEDED, *, checkpoint: Checkpoints | None = SAVED) -> ObservedEarlierJob:
    run = {"checkpoints": {"claim": "weights"}}
    return ObservedEarlierJob(
        object=make_object(name="base", uid="base-uid"),
        status=TrainingJobStatus(phase=phase, run=run, checkpoint=checkpoint),
    )


def spec(claim: str | None = None, **model: Any) -> dict[str, Any]:
    volume = {"checkpoints": {"volume": {"claim": claim}}} if claim else {}
    return make_spec(model={"name": "lenet", "initFrom": {"job": "base"}, **model}, **volume)


@pytest.mark.parametrize(
    ("earlier", "reason", "says"),
    [
        (None, "InitJobMissing", "there is no TrainingJob base in this namespace. Apply it"),
        (make_earlier(JobPhase.TRAINING), "InitJobUnfinished", "TrainingJob base, whose weights it begins with, is Tr"),
        (make_earlier(checkpoint=None), "InitJobWithoutCheckpoint", "has finished and left no checkpoint"),
    ],
)
def test_a_job_waits_for_the_one_whose_weights_it_begins_with(
    earlier: ObservedEarlierJob | None, reason: str, says: str
) -> None:
    planned = plan(observe(spec=spec(), earlier=earlier))
    status = status_of(planned)

    assert (status.phase, status.reason) == (JobPhase.WAITING_FOR_DATA, reason)
    assert says in status.message
    said = {each.type: each.reason for each in status.conditions if each.status == "False"}
    assert said == {"InitialWeightsReady": reason}
    assert not planned.create
    assert planned.wake_at is not None
    assert planned.wake_at <= NOW + 10


def test_a_job_that_would_begin_with_its_own_weights_says_so() -> None:
    status = status_of(plan(observe(spec=spec(initFrom={"job": "lenet"}))))

    assert status.reason == "InitJobIsItself"


@pytest.mark.parametrize("phase", [JobPhase.SUCCEEDED, JobPhase.FAILED])
def test_pods_see_the_volume_of_a_finished_job_read_only(phase: JobPhase) -> None:
    container, volumes = pod_of(spec(), make_earlier(phase))

    assert variable(container) == "/oarlock/first-weights/base-uid"
    (mount,) = (each for each in container["volumeMounts"] if each["mountPath"] == contract.FIRST_WEIGHTS_MOUNT)
    assert mount["readOnly"] is True
    (volume,) = (each for each in volumes if each["name"] == mount["name"])
    assert volume["persistentVolumeClaim"] == {"claimName": "weights"}


@pytest.mark.parametrize(
    ("model", "path"),
    [
        ({"initFrom": {"job": "base"}}, "/oarlock/runs/base-uid"),
        ({"initFrom": {"path": "a/b.safetensors"}}, "/oarlock/runs/a/b.safetensors"),
        ({"name": None, "initFrom": None, "timm": {"name": "x", "weights": "w.pth"}}, "/oarlock/runs/w.pth"),
        ({"name": None, "initFrom": None, "timm": {"name": "x", "weights": "/oarlock/data/w"}}, "/oarlock/data/w"),
    ],
)
def test_nothing_more_is_mounted_for_weights_on_the_jobs_own_volume(model: dict[str, Any], path: str) -> None:
    given = spec("weights", **model)
    given["model"] = {name: value for name, value in given["model"].items() if value is not None}
    container, volumes = pod_of(given, make_earlier())

    assert variable(container) == path
    claims = [each["persistentVolumeClaim"]["claimName"] for each in volumes if "persistentVolumeClaim" in each]
    assert claims == ["fashion-data", "weights"]
    assert contract.FIRST_WEIGHTS_MOUNT not in {each["mountPath"] for each in container["volumeMounts"]}


def pod_of(given: dict[str, Any], earlier: ObservedEarlierJob) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    planned = plan(observe(spec=given, earlier=earlier))
    (pod,) = (each for each in planned.create if each["kind"] == "Pod")
    return pod["spec"]["containers"][0], pod["spec"]["volumes"]


def variable(container: dict[str, Any]) -> str | None:
    return next((each["value"] for each in container["env"] if each["name"] == contract.FIRST_WEIGHTS_ENV), None)
