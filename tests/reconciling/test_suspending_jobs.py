"""Suspending and resuming."""

from dataclasses import replace

from reconciling.job_states import (
    NOW,
    SETTINGS,
    condition,
    end_pod,
    make_checkpoint,
    make_pod,
    make_record,
    make_spec,
    names_of,
    plan,
    status_of,
    train,
)

from oarlock_api.contract import Outcome
from oarlock_api.v1alpha1.status import JobPhase
from oarlock_operator.reconcile.observed import ObservedJob
from oarlock_operator.reconcile.training_job import plan_job


def ask_to_suspend(job: ObservedJob, *, suspend: bool = True) -> ObservedJob:
    spec = {**job.object.spec, "runPolicy": {"suspend": suspend}}
    return replace(job, object=replace(job.object, spec=spec))


def suspending() -> ObservedJob:
    """A job of two nodes whose pods were just asked to end."""
    job = ask_to_suspend(train(spec=make_spec(nodes=2)))
    pods = tuple(replace(pod, deleting=True, delete_by=NOW + 120) for pod in job.pods)
    return replace(job, status=status_of(plan(job)), pods=pods, report=None)


def test_all_pods_are_deleted_at_once_and_no_restart_counted_when_a_job_is_suspended() -> None:
    planned = plan(ask_to_suspend(train(spec=make_spec(nodes=2))))
    status = status_of(planned)

    assert [deletion.uid for deletion in planned.delete] == ["pod-0-0", "pod-0-1"]
    assert (status.phase, status.reason, status.attempt) == (JobPhase.SUSPENDED, "Suspending", 1)
    assert (status.restart_count, status.restarts, status.failures) == (0, {}, [])
    assert condition(status, "Suspended") == ("False", "Suspending")


def test_suspension_is_not_claimed_while_a_pod_still_ends() -> None:
    job = suspending()

    planned = plan(job)

    assert status_of(planned).reason == "Suspending"
    assert "waiting for 2 pods" in status_of(planned).message
    assert not planned.delete


def test_the_safe_step_is_named_when_all_pods_are_gone() -> None:
    job = suspending()
    record = make_record(Outcome.SUSPENDED, checkpoint_latest=make_checkpoint(96, time=NOW + 3))
    ended = replace(job, pods=(end_pod(job.pods[0], exit_code=75, record=record, deleting=True),))
    gone = replace(job, status=status_of(plan(ended)), pods=())

    status = status_of(plan(gone, now=NOW + 9))

    assert (status.phase, status.reason) == (JobPhase.SUSPENDED, "Suspended")
    assert "step 96 is safe on claim lenet-checkpoints" in status.message
    assert condition(status, "Suspended") == ("True", "Suspended")


def test_the_safe_step_is_named_when_a_pod_was_gone_before_its_last_words_were_planned_with() -> None:
    words = make_record(Outcome.SUSPENDED, checkpoint_latest=make_checkpoint(96, time=NOW + 3))

    status = status_of(plan(replace(suspending(), pods=(), last_words=words), now=NOW + 9))

    assert "step 96 is safe on claim lenet-checkpoints" in status.message


def test_that_all_pods_are_gone_is_confirmed_before_it_is_said() -> None:
    planned = plan_job(replace(suspending(), pods=()), now=NOW, settings=SETTINGS)

    assert planned.confirm
    assert planned.status is None


def test_a_pod_that_fails_while_it_is_suspended_is_no_failure() -> None:
    job = suspending()
    failed = tuple(end_pod(pod, exit_code=1, deleting=True) for pod in job.pods)

    status = status_of(plan(replace(job, pods=failed)))

    assert (status.phase, status.failures, status.attempt) == (JobPhase.SUSPENDED, [], 1)


def test_resuming_waits_for_old_pods_and_starts_a_new_attempt() -> None:
    job = ask_to_suspend(suspending(), suspend=False)

    waiting, resumed = plan(job), plan(replace(job, pods=()))

    assert (status_of(waiting).phase, waiting.create) == (JobPhase.STARTING, ())
    assert "lenet-0a1b2c3d-1-1" in names_of(resumed.create)
    assert (status_of(resumed).attempt, status_of(resumed).restart_count) == (1, 0)
    assert condition(status_of(resumed), "Suspended") == ("False", "Resumed")


def test_a_job_that_has_just_succeeded_is_not_suspended() -> None:
    job = train()
    done = replace(job, pods=(end_pod(job.pods[0], record=make_record()),))

    assert status_of(plan(ask_to_suspend(done))).phase is JobPhase.SUCCEEDED


def test_a_job_is_suspended_even_when_its_spec_became_invalid() -> None:
    job = train()
    spec = {"dataset": {"name": "fashion"}, "model": {"name": "nonsense"}, "runPolicy": {"suspend": True}}

    planned = plan(replace(job, object=replace(job.object, spec=spec)))

    assert status_of(planned).phase is JobPhase.SUSPENDED
    assert len(planned.delete) == 1


def test_a_pod_that_turns_up_late_is_removed_from_a_suspended_job() -> None:
    job = suspending()
    quiet = replace(job, status=status_of(plan(replace(job, pods=()))))
    late = make_pod(status=quiet.status, attempt=1, phase="Running", node="n1")

    planned = plan(replace(quiet, pods=(late,)))

    assert [deletion.uid for deletion in planned.delete] == ["pod-1-0"]
    assert status_of(planned).attempt == 2


def test_nothing_is_planned_again_when_a_job_rests_suspended() -> None:
    job = replace(suspending(), pods=())
    rests = replace(job, status=status_of(plan(job)))

    planned = plan_job(rests, now=NOW + 500, settings=SETTINGS)

    assert (planned.confirm, planned.status, planned.wake_at) == ((), None, None)
