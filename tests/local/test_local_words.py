"""What the operator says of a local run names nothing that only a cluster has."""

from dataclasses import replace

from reconciling.job_states import NOW, accept, make_pod, make_spec, observe

from oarlock.local.machine import Machine
from oarlock.local.session import build_settings
from oarlock_operator.admission import say_why_off
from oarlock_operator.policy.wait import Surroundings
from oarlock_operator.policy.waiting import explain_wait
from oarlock_operator.reconcile.observed import ObservedJob
from oarlock_operator.reconcile.training_job import plan_job

SETTINGS = build_settings(Machine(cpus=4, memory=2**33))


def say(job: ObservedJob) -> str:
    planned = plan_job(replace(job, confirmed=True), now=NOW, settings=SETTINGS)
    assert planned.status
    return planned.status.message


def suspend(job: ObservedJob) -> ObservedJob:
    return replace(job, pods=(), object=replace(job.object, spec={**job.object.spec, "runPolicy": {"suspend": True}}))


def test_suspended_run_is_resumed_by_running_it_again() -> None:
    assert say(suspend(accept())).endswith("no checkpoint yet. Run it again to resume")
    assert say(observe(spec=make_spec(run_policy={"suspend": True}))).endswith("Run it again to start it")


def test_pod_that_begins_has_no_image() -> None:
    pod = make_pod(status=accept().status, scheduled=True, node="this-machine")
    wait = explain_wait([pod], Surroundings(is_local=True))
    assert wait
    assert wait.message.endswith(": its process is started")


def test_no_administrator_has_turned_the_queue_off() -> None:
    assert say_why_off(SETTINGS) == "this machine has no queue: pods start as soon as they fit on it"
