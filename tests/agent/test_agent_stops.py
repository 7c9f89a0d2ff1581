"""SIGTERM, SIGINT and SIGKILL to the agent."""

import signal
import time
from collections.abc import Callable

import psutil
import pytest
from agent.pods import Pod

from oarlock_api.contract import EXIT_SUSPENDED, Outcome

StartPod = Callable[..., Pod]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_ranks_checkpoint_and_pod_is_suspended_when_asked_to_stop(start_pod: StartPod, number: signal.Signals) -> None:
    pod = start_pod("until_stopped")
    pod.wait_for(lambda status: status["step"] > 5)
    pod.agent.send_signal(number)
    pod.agent.send_signal(signal.SIGTERM)  # a second one changes nothing

    assert pod.wait() == EXIT_SUSPENDED
    record = pod.record()
    assert (record.outcome, record.failure, record.warnings) == (Outcome.SUSPENDED, None, [])
    assert record.checkpoint_latest is not None
    assert record.checkpoint_latest["step"] == record.step > 5
    assert pod.survivors() == []


def test_ranks_are_killed_in_time_when_they_do_not_stop(start_pod: StartPod) -> None:
    pod = start_pod("deaf_to_stop", GRACE_PERIOD_SECONDS="5")
    # Both ranks: one that has no handler yet would end of the signal.
    pod.wait_for(lambda status: [rank["step"] for rank in status["ranks"]] == [4, 4] and "checkpointLatest" in status)
    asked = time.monotonic()
    pod.agent.send_signal(signal.SIGTERM)

    assert pod.wait() == EXIT_SUSPENDED
    assert time.monotonic() - asked < 5
    record = pod.record()
    assert record.checkpoint_latest is not None
    assert record.checkpoint_latest["step"] == 3
    assert "grace period ended" in record.warnings[0]
    assert pod.survivors() == []


@pytest.mark.parametrize("scenario", ["launcher_hangs", "no_handler_yet"], ids=["no rank yet", "no handler yet"])
def test_pod_is_suspended_at_once_when_there_is_nothing_to_checkpoint(start_pod: StartPod, scenario: str) -> None:
    pod = start_pod(scenario)
    pod.wait_for(lambda status: status["phase"] == "Starting")
    time.sleep(0.5)
    asked = time.monotonic()
    pod.agent.send_signal(signal.SIGTERM)

    assert pod.wait() == EXIT_SUSPENDED
    assert time.monotonic() - asked < 5
    assert pod.record().outcome == Outcome.SUSPENDED


def test_import_is_suspended_when_asked_to_stop(start_pod: StartPod) -> None:
    pod = start_pod("imports_for_ever", mode="import")
    pod.wait_for(lambda status: status["phase"] == "Importing")
    pod.agent.send_signal(signal.SIGTERM)

    assert pod.wait() == EXIT_SUSPENDED
    assert pod.record().outcome == Outcome.SUSPENDED


def test_status_says_so_when_a_pod_is_stopping(start_pod: StartPod) -> None:
    pod = start_pod("deaf_to_stop")
    pod.wait_for(lambda status: status["step"] == 4)
    pod.agent.send_signal(signal.SIGTERM)

    assert pod.wait_for(lambda status: status["phase"] == "Suspending")["phase"] == "Suspending"


def test_nothing_survives_when_the_agent_is_killed(start_pod: StartPod) -> None:
    pod = start_pod("until_stopped")
    pod.wait_for(lambda status: len(status["ranks"]) == 2 and status["ranks"][1]["step"] > 5)
    assert len(pod.processes()) == 3
    pod.agent.send_signal(signal.SIGKILL)
    pod.agent.wait()
    _, alive = psutil.wait_procs(pod.survivors(), timeout=30)

    assert alive == []
