"""Where the time of a job goes: every second counts once, and nothing is taken back."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given
from reconciling.job_states import NOW, make_pod, run_pod

from oarlock_api.v1alpha1.status import (
    MAX_LOSSES,
    Checkpoints,
    CheckpointStatus,
    FailureRecord,
    Goodput,
    JobPhase,
    Progress,
    TrainingJobStatus,
)
from oarlock_operator.policy.goodput import OTHER, RETRIED, count_goodput
from oarlock_operator.policy.times import format_time
from oarlock_operator.reconcile.observed import ObservedPod


class Life:
    """A job's statuses, one after the other."""

    def __init__(self, *, gpus_per_node: int = 8) -> None:
        self.now, self.gpus_per_node = NOW, gpus_per_node
        self.status = TrainingJobStatus()
        self.pods: Sequence[ObservedPod] = ()

    def write(self, phase: JobPhase, reason: str = "", *, after: float = 0.0, **fields: Any) -> Goodput:
        """Write a status so many seconds after the last one."""
        self.now += after
        status = self.status.model_copy(update={"phase": phase, "reason": reason, **fields})
        goodput = count_goodput(
            self.status, status, pods=self.pods, gpus_per_node=self.gpus_per_node, created=NOW, now=self.now
        )
        # What the next operator knows is what is on the wire, and nothing else.
        self.status = TrainingJobStatus.from_wire(status.model_copy(update={"goodput": goodput}).to_wire())
        return self.status.goodput or Goodput()

    def train(self, seconds: float = 100.0) -> Goodput:
        """Come to training in 30 seconds, and train."""
        self.write(JobPhase.STARTING, after=10)
        self.write(JobPhase.TRAINING, "Training", after=20)
        return self.write(JobPhase.TRAINING, "Training", after=seconds)

    def save(self, at: float) -> dict[str, Any]:
        """A checkpoint that was complete at a second of this life."""
        latest = CheckpointStatus(step=1, epoch=1, path="p", bytes=1, time=format_time(NOW + at))
        return {"checkpoint": Checkpoints(latest=latest)}

    def fail(self, cause: str = "NodeLost", *, after: float = 0.0, **fields: Any) -> Goodput:
        failures = [FailureRecord(attempt=self.status.attempt, cause=cause, message="it broke")]
        attempt = self.status.attempt + 1
        return self.write(JobPhase.RESTARTING, cause, after=after, attempt=attempt, failures=failures, **fields)


def lost(goodput: Goodput) -> Mapping[tuple[str, str], float]:
    return {(loss.phase, loss.cause): loss.seconds for loss in goodput.losses}


def hold(*, since: float, count: int = 2) -> Sequence[ObservedPod]:
    return [
        replace(run_pod(make_pod(rank, status=TrainingJobStatus())), scheduled_at=NOW + since) for rank in range(count)
    ]


def test_time_before_the_first_step_is_lost_by_phase() -> None:
    life = Life()
    life.write(JobPhase.WAITING_FOR_DATA, after=5)
    life.write(JobPhase.STARTING, after=7)
    life.write(JobPhase.RENDEZVOUS, after=11)

    goodput = life.write(JobPhase.TRAINING, "Loading", after=13)
    goodput = life.write(JobPhase.TRAINING, "Training", after=17)

    assert lost(goodput) == {
        ("WaitingForData", ""): 12,
        ("Starting", ""): 11,
        ("Rendezvous", ""): 13,
        ("Loading", ""): 17,
    }
    assert (goodput.percent, goodput.lost_seconds) == (0, 53)


def test_training_becomes_safe_by_a_checkpoint() -> None:
    life = Life()
    life.train(100)  # from second 30 to 130

    goodput = life.write(JobPhase.TRAINING, "Training", **life.save(at=105))

    assert (goodput.training_seconds, goodput.unsaved_seconds, goodput.lost_seconds) == (75, 25, 30)
    assert goodput.percent == 76  # what is not saved yet is not lost either


def test_training_since_the_checkpoint_is_lost_when_it_begins_anew() -> None:
    life = Life()
    life.train(100)
    life.fail(**life.save(at=105))
    life.write(JobPhase.STARTING, after=40)

    goodput = life.write(JobPhase.TRAINING, "Training", after=3)

    expected = {
        ("Starting", ""): 30,
        ("Restarting", "NodeLost"): 40,
        ("Starting", "NodeLost"): 3,
        ("LostSteps", "NodeLost"): 25,
    }
    assert lost(goodput) == pytest.approx(expected)
    assert (goodput.training_seconds, goodput.unsaved_seconds) == (75, 0)


def test_a_checkpoint_counts_that_is_heard_of_after_the_pods_have_gone() -> None:
    life = Life()
    life.train(100)
    life.write(JobPhase.SUSPENDED, "Suspending", attempt=1)
    life.write(JobPhase.SUSPENDED, "Suspended", after=600, **life.save(at=130))

    goodput = life.write(JobPhase.STARTING, after=60)

    assert (goodput.training_seconds, goodput.unsaved_seconds) == (100, 0)
    assert lost(goodput)["Suspended", "Suspended"] == 660
    assert goodput.percent == 76, "the time of a suspension is nobody's loss"


def test_training_without_any_checkpoint_is_safe_when_the_job_succeeds() -> None:
    life = Life()
    life.train(100)

    goodput = life.write(JobPhase.SUCCEEDED, "Finished", after=10)

    assert (goodput.training_seconds, goodput.unsaved_seconds) == (110, 0)


def test_training_without_any_checkpoint_is_lost_when_the_job_fails() -> None:
    life = Life()
    life.train(100)

    goodput = life.write(
        JobPhase.FAILED,
        "UserError",
        after=10,
        failures=[FailureRecord(attempt=0, cause="UserError", message="it broke")],
    )

    assert lost(goodput)["LostSteps", "UserError"] == 110


def test_steps_are_lost_when_the_agent_starts_anew_unseen() -> None:
    life = Life()
    life.train(100)
    life.write(JobPhase.TRAINING, "Training", progress=Progress(step=90))

    goodput = life.write(JobPhase.TRAINING, "Training", progress=Progress(step=10), after=5)

    assert lost(goodput)["LostSteps", RETRIED] == 105


def test_what_an_agent_takes_to_start_anew_is_lost() -> None:
    life = Life()
    life.train(100)
    life.write(JobPhase.TRAINING, "Retrying")

    goodput = life.write(JobPhase.TRAINING, "Training", after=9)

    assert lost(goodput) == {("Starting", ""): 30, ("Retrying", RETRIED): 9, ("LostSteps", RETRIED): 100}


def test_gpus_count_from_their_node_to_their_end() -> None:
    life = Life(gpus_per_node=8)
    life.write(JobPhase.STARTING)
    life.pods = hold(since=900)

    goodput = life.write(JobPhase.STARTING, after=1800)

    assert (goodput.gpu_hours.total, goodput.gpu_hours.lost, goodput.gpus) == (2 * 8 * 0.25, 4.0, 16)


def test_gpus_of_pods_that_are_gone_count_until_now() -> None:
    life = Life(gpus_per_node=4)
    life.pods = hold(since=0)
    life.write(JobPhase.STARTING)
    life.pods = ()

    goodput = life.write(JobPhase.STARTING, after=3600)

    assert (goodput.gpu_hours.total, goodput.gpus) == (8.0, 0)


def test_the_list_of_losses_stays_short_and_the_sum_right() -> None:
    life = Life()
    life.train(0)
    for number in range(2 * MAX_LOSSES):
        life.fail(f"Cause{number}")
        life.write(JobPhase.TRAINING, "Training", after=1)
    goodput = life.status.goodput

    assert goodput is not None
    assert len(goodput.losses) == MAX_LOSSES
    assert lost(goodput)[OTHER, ""] > 0
    assert goodput.lost_seconds == sum(loss.seconds for loss in goodput.losses) == 30 + 2 * MAX_LOSSES


def test_no_second_counts_twice_when_the_clock_is_set_back() -> None:
    life = Life()
    before = life.train(100)

    goodput = life.write(JobPhase.TRAINING, "Training", after=-50)

    assert (goodput.unsaved_seconds, goodput.lost_seconds) == (before.unsaved_seconds, before.lost_seconds)


_EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["Starting", "Loading", "Training", "Saved", "Restarting", "Suspended", "Queued"]),
        st.floats(0, 5000).map(lambda seconds: round(seconds, 3)),
        st.integers(0, 2),
    ),
    max_size=40,
)


@given(events=_EVENTS)
def test_every_second_counts_once_and_sums_only_grow(events: list[tuple[str, float, int]]) -> None:
    life = Life(gpus_per_node=8)
    before = life.write(JobPhase.WAITING_FOR_DATA)
    for what, seconds, nodes in events:
        life.pods = hold(since=life.now - NOW, count=nodes)
        now = life.now - NOW + seconds
        if what == "Restarting":
            after = life.fail(after=seconds)
        elif what in {"Loading", "Training", "Saved"}:
            saved = life.save(at=now - seconds / 3) if what == "Saved" else {}
            after = life.write(JobPhase.TRAINING, what.replace("Saved", "Training"), after=seconds, **saved)
        else:
            after = life.write(JobPhase(what), after=seconds)
        counted = after.training_seconds + after.unsaved_seconds + after.lost_seconds
        hours = after.gpu_hours
        assert counted == pytest.approx(life.now - NOW, abs=0.1)
        assert hours.total == pytest.approx(hours.training + hours.unsaved + hours.lost, abs=1e-3)
        assert after.training_seconds >= before.training_seconds
        assert after.lost_seconds >= before.lost_seconds
        assert hours.total >= before.gpu_hours.total
        before = after
