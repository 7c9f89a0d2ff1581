"""The progress deadline, with real processes that stop, hang or are slow."""

from collections.abc import Callable

from agent.pods import Pod

from oarlock_api.contract import EXIT_CODES, Cause, Outcome

StartPod = Callable[..., Pod]


def test_stopped_rank_is_named_when_it_makes_no_progress(start_pod: StartPod) -> None:
    """The other rank waits for it, and is as silent."""
    pod = start_pod("stopped", PROGRESS_DEADLINE_SECONDS="1")

    assert pod.wait() == EXIT_CODES[Cause.HUNG]
    failure = pod.record().failure
    assert failure is not None
    assert (failure["rank"], failure["phase"], failure["step"]) == (1, "Training", 5)
    assert "its process is stopped" in failure["message"]
    assert pod.survivors() == []


def test_phase_and_stack_are_named_when_a_rank_hangs_while_others_go_on(start_pod: StartPod) -> None:
    pod = start_pod("silent_in_validation", PROGRESS_DEADLINE_SECONDS="1")

    assert pod.wait() == EXIT_CODES[Cause.HUNG]
    failure = pod.record().failure
    assert failure is not None
    assert (failure["rank"], failure["phase"]) == (1, "Validating")
    assert "in wait_in_a_lock" in failure["detail"]


def test_slow_phases_are_not_hangs_when_they_beat(start_pod: StartPod) -> None:
    """Three phases of 1.2 s without a step, under a deadline of 1 s."""
    pod = start_pod("slow_phases", PROGRESS_DEADLINE_SECONDS="1")

    assert pod.wait() == 0
    assert pod.record().outcome == Outcome.SUCCEEDED


def test_torchrun_is_named_when_it_never_starts_a_rank(start_pod: StartPod) -> None:
    pod = start_pod("launcher_hangs", PROGRESS_DEADLINE_SECONDS="1")

    assert pod.wait() == EXIT_CODES[Cause.HUNG]
    failure = pod.record().failure
    assert failure is not None
    assert failure["message"].startswith("torchrun made no progress for")
