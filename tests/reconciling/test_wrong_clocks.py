"""Nodes whose clocks are wrong by minutes to hours: nothing is decided earlier or later for it, and the node is named.

Each test plans the same job twice, on nodes whose clocks are right and on nodes whose clocks are not, through the same door as the
operator's: answers are put right when they come in, pods when they are looked at.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reconciling.job_states import (
    NOW,
    accept,
    end_pod,
    make_checkpoint,
    make_failure,
    make_record,
    make_spec,
    make_worker_status,
    plan,
    run_pod,
    status_after,
)

from oarlock_api.contract import Cause, JoinState, JoinStatus, Standing
from oarlock_api.v1alpha1.status import JobPhase, TrainingJobStatus
from oarlock_operator.policy.clocks import Skew, correct_pod, correct_status, find_skews, measure_skew
from oarlock_operator.policy.conditions import find_condition
from oarlock_operator.policy.times import LATEST_TIME, format_time
from oarlock_operator.reconcile.observed import ObservedJob, ObservedPod, WorkerReport

SKEWS = [-7 * 3600.0, -600.0, -90.0, 90.0, 600.0, 7 * 3600.0]
skewed = pytest.mark.parametrize("skew", SKEWS)


def hear(skew: float, *, now: float, **said: Any) -> WorkerReport:
    """Return the answer of an agent whose node is ahead by `skew`, as the operator keeps it; the times given are right ones."""
    told = correct_status(make_worker_status(**said), -skew)
    found = measure_skew(now + skew, before=None, now=now)
    return WorkerReport(status=correct_status(replace(told, time=now + skew), found), answered=now, skew=found)


def misdate(pod: ObservedPod, skew: float) -> ObservedPod:
    """Return a pod as a kubelet shows it whose node is ahead by `skew`."""
    moments = {name: getattr(pod, name) for name in ("started", "finished")}
    return replace(pod, **{name: moment + skew for name, moment in moments.items() if moment is not None})


def train(skew: float, *, now: float = NOW, report: Mapping[str, Any] | None = None, **fields: Any) -> ObservedJob:
    """A job all of whose pods run since NOW on nodes that are ahead by `skew`, seen and answering at `now`."""
    job = accept(**fields)
    pods = tuple(misdate(run_pod(pod), skew) for pod in job.pods)
    job = replace(job, pods=pods, report=None if report is None else hear(skew, now=now, **report))
    return replace(job, status=status_after(job, now=now))


def tell(status: TrainingJobStatus, kind: str = "NodeClocksRight") -> str:
    found = find_condition(status.conditions, kind)
    return f"{found.status}: {found.message}" if found else ""


@skewed
@pytest.mark.parametrize("heard", [True, False])
def test_startup_deadline_keeps_its_time(skew: float, heard: bool) -> None:  # noqa: FBT001
    report = {"phase": "Loading", "step": 0} if heard else None
    spec = make_spec(run_policy={"startupDeadlineSeconds": 600})
    before, at = train(skew, report=report, spec=spec), NOW + 600

    assert status_after(before, now=at - 1).phase in (JobPhase.STARTING, JobPhase.TRAINING)
    after = status_after(before, now=at + 1)
    # A trainer that was never heard may well train: its agent keeps the deadlines inside.
    assert after.phase is (JobPhase.RESTARTING if heard else JobPhase.STARTING)


@skewed
def test_active_deadline_and_lifetime_after_the_end_keep_their_time(skew: float) -> None:
    policy = {"activeDeadlineSeconds": 3600, "ttlSecondsAfterFinished": 100}
    job = train(skew, report={}, spec=make_spec(run_policy=policy))

    assert status_after(job, now=NOW + 3590).phase is JobPhase.TRAINING
    assert status_after(job, now=NOW + 3601).phase is JobPhase.FAILED

    ended = misdate(end_pod(job.pods[0], record=make_record()), skew)
    job = replace(job, pods=(ended,))
    job = replace(job, status=status_after(job, now=NOW + 10))
    assert job.status.phase is JobPhase.SUCCEEDED
    assert not plan(job, now=NOW + 109).confirm
    assert plan(replace(job, confirmed=True), now=NOW + 111).delete


@skewed
def test_no_hang_is_seen_and_silence_counts_from_our_own_clock(skew: float) -> None:
    job = train(skew, now=NOW + 5, report={})
    assert tell(job.status, "ProgressKnown").startswith("True")

    silent = replace(train(skew), report=WorkerReport(status=None, failing_since=NOW + 1))
    assert not tell(status_after(silent, now=NOW + 20), "ProgressKnown").startswith("False")
    assert f"has not answered since {format_time(NOW + 1)}" in tell(status_after(silent, now=NOW + 22), "ProgressKnown")


@skewed
def test_hung_rank_is_shown_with_times_of_our_own_clock(skew: float) -> None:
    stalled = {
        "rank": 0,
        "pid": 1,
        "phase": "Training",
        "since": NOW - 60,
        "due": NOW + 540,
        "standing": Standing.BUSY.value,
    }
    job = train(skew, report={"stalled": [stalled]})

    right = train(0.0, report={"stalled": [stalled]})
    assert job.status.message == right.status.message
    assert "it counts as hung at" in job.status.message


@skewed
def test_cause_of_a_missing_node_is_sought_as_soon_as_on_nodes_with_right_clocks(skew: float) -> None:
    spec = make_spec(nodes=2)
    join = JoinStatus(state=JoinState.NAME_UNKNOWN, since=NOW, endpoint="r0:29400").to_wire()
    said = {"phase": "Rendezvous", "step": 0, "checkpoint_latest": None}
    job = replace(train(skew, report=said, spec=spec), peers={1: hear(skew, now=NOW, node=1, join=join, **said)})
    job = replace(job, status=status_after(job))

    assert status_after(job, now=NOW + 14).reason == "Joining"
    assert status_after(job, now=NOW + 16).reason == "RendezvousNameUnknown"


@skewed
def test_culprit_is_who_failed_first_on_our_own_clock(skew: float) -> None:
    """The pod on the node that is wrong failed first, or last, whatever it says."""
    job = train(0.0, report={}, spec=make_spec(nodes=2))
    wrong, right = job.pods
    for offset in (-2.0, 2.0):
        first = misdate(
            end_pod(wrong, exit_code=70, record=make_failure(Cause.USER_ERROR), finished=NOW + 50 + offset), skew
        )
        second = end_pod(right, exit_code=71, record=make_failure(Cause.OUT_OF_MEMORY, "full"), finished=NOW + 50)
        seen = replace(job, pods=(first, second), report=hear(skew, now=NOW + 40), confirmed=True)

        cause = Cause.USER_ERROR if offset < 0 else Cause.OUT_OF_MEMORY
        assert status_after(seen, now=NOW + 60).reason == cause


@skewed
@pytest.mark.parametrize("heard", [True, False])
def test_victim_alone_is_blamed_after_five_seconds_at_most(skew: float, heard: bool) -> None:  # noqa: FBT001
    job = train(skew, report={} if heard else None, spec=make_spec(nodes=2))
    victim = misdate(end_pod(replace(job.pods[0], started=NOW), exit_code=80, finished=NOW + 50), skew)
    seen = replace(job, pods=(victim, job.pods[1]), confirmed=True)

    assert status_after(seen, now=NOW + 56).reason == Cause.COLLECTIVE_FAILED


@skewed
def test_goodput_counts_what_checkpoints_made_safe_by_our_own_clock(skew: float) -> None:
    job = train(skew, report={"checkpoint_latest": None})
    job = replace(job, report=hear(skew, now=NOW + 100, checkpoint_latest=make_checkpoint(80, time=NOW + 60)))
    job = replace(job, status=status_after(job, now=NOW + 100))
    ended = misdate(end_pod(job.pods[0], exit_code=137, finished=NOW + 150), skew)
    job = replace(job, pods=(replace(ended, started=job.pods[0].started),), confirmed=True)

    goodput = status_after(job, now=NOW + 151).goodput

    assert goodput
    assert goodput.training_seconds == pytest.approx(60, abs=0.1)
    assert goodput.unsaved_seconds == pytest.approx(91, abs=0.1)


@skewed
def test_node_is_named_with_its_error_when_its_agent_tells_the_time(skew: float) -> None:
    said = tell(train(skew, report={}).status)

    amount = {90: "2 minutes", 600: "10 minutes"}.get(int(abs(skew)), "7.0 hours")
    assert said.startswith(f"False: the clock of node node-0 is {amount} {'ahead' if skew > 0 else 'behind'}")
    assert "Set the clock of that node" in said


@skewed
def test_node_is_named_by_the_times_of_its_containers_alone(skew: float) -> None:
    said = tell(train(skew, now=NOW + 10).status)

    assert "the clock of node node-0 is at least" in said
    assert ("ahead" if skew > 0 else "behind") in said


def test_word_on_a_clock_stays_while_less_and_less_of_the_error_shows_and_goes_once_it_is_right() -> None:
    job = train(600.0, now=NOW + 10)
    later = replace(job, status=status_after(job, now=NOW + 400))
    assert tell(later.status) == tell(job.status)
    unseen = replace(later, status=status_after(later, now=NOW + 700))
    assert tell(unseen.status) == tell(job.status)

    mended = replace(unseen, report=hear(0.0, now=NOW + 800))
    assert tell(status_after(mended, now=NOW + 800)) == "True: the clocks of the job's nodes are right"


@pytest.mark.parametrize("skew", [0.0, 9.0, -9.0, 45.0, -45.0])
def test_nothing_is_said_of_clocks_that_agree_more_or_less(skew: float) -> None:
    assert tell(train(skew, report={}).status) == ""


@given(st.floats(-1e6, 1e6), st.floats(-10, 10), st.floats(0, 1e9))
def test_measured_error_does_not_tremble_with_the_time_that_answers_take(
    skew: float, jitter: float, now: float
) -> None:
    first = measure_skew(now + skew, before=None, now=now)

    assert first is not None
    assert abs(first - skew) <= 10
    assert measure_skew(now + 60 + first + jitter, before=first, now=now + 60) == first
    assert measure_skew(None, before=first, now=now) == first


def test_status_can_be_written_whatever_time_an_agent_says_that_it_is() -> None:
    latest = {**make_checkpoint(step=10), "time": LATEST_TIME}
    lie = correct_status(make_worker_status(checkpoint_latest=latest), measure_skew(0.0, before=None, now=NOW))

    assert format_time(lie.checkpoint_latest["time"]).startswith("9999")


def test_checkpoint_keeps_its_time_when_a_clock_is_wrong_by_nobody_knows_how_much() -> None:
    pod = replace(
        end_pod(accept().pods[0], record=make_record(checkpoint_latest=make_checkpoint(step=10))), finished=NOW + 7200
    )

    looks = [correct_pod(pod, find_skews([pod], {}, now=now), now=now) for now in (NOW, NOW + 1)]

    assert looks[0].termination == looks[1].termination == pod.termination


def test_end_of_a_pod_counts_as_unknown_when_its_clock_was_put_right_meanwhile() -> None:
    pod = replace(run_pod(accept().pods[0]), finished=NOW + 50)
    skews = {pod.node: Skew(seconds=-3600.0, is_measured=True)}

    assert correct_pod(pod, skews, now=NOW + 60).finished is None
