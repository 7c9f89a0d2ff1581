"""Faults that are answered in the same pod, and those that are not."""

import signal
from collections.abc import Callable

from agent.pods import Pod

from oarlock_api.contract import EXIT_CODES, Cause, Outcome

StartPod = Callable[..., Pod]


def test_pod_succeeds_when_a_rank_is_killed_once(start_pod: StartPod) -> None:
    pod = start_pod("rank_killed_once")

    assert pod.wait() == 0
    record = pod.record()
    assert (record.outcome, record.retries) == (Outcome.SUCCEEDED, 1)
    assert "Rank 1 (node rank 0" in record.warnings[0]
    assert "was killed by SIGKILL in phase Training after step 7" in record.warnings[0]


def test_killed_rank_is_named_and_retries_end_when_it_is_killed_every_time(start_pod: StartPod) -> None:
    """Its peer reports a broken collective, which is not what happened first."""
    pod = start_pod("rank_killed")

    assert pod.wait() == EXIT_CODES[Cause.PROCESS_KILLED]
    record = pod.record()
    assert record.failure is not None
    assert (record.failure["cause"], record.failure["rank"]) == (Cause.PROCESS_KILLED, 1)
    assert (record.failure["signal"], record.failure["step"]) == (signal.SIGKILL, 7)
    assert record.retries == 3


def test_retries_go_on_when_checkpoints_advance_between_them(start_pod: StartPod) -> None:
    pod = start_pod("rank_killed_while_checkpoints_advance")

    assert pod.wait() == 0
    assert pod.record().retries == 5


def test_pod_ends_at_the_first_killed_rank_when_there_are_several_nodes(start_pod: StartPod) -> None:
    changes = {"NODES": "2", "RENDEZVOUS_ENDPOINT": "r0:29400", "RENDEZVOUS_ID": "x-a2", "JOIN_TIMEOUT_SECONDS": "5"}
    pod = start_pod("rank_killed", **changes)

    assert pod.wait() == EXIT_CODES[Cause.PROCESS_KILLED]
    assert pod.record().retries == 0


def test_torchrun_is_started_again_when_it_is_killed(start_pod: StartPod) -> None:
    pod = start_pod("until_stopped")
    first = pod.wait_for(lambda status: len(status["ranks"]) == 2 and status["ranks"][1]["step"] > 5)
    pod.agent.children()[0].send_signal(signal.SIGKILL)
    second = pod.wait_for(lambda status: status["retries"] == 1 and len(status["ranks"]) == 2)
    pod.agent.send_signal(signal.SIGTERM)
    pod.wait()

    assert {rank["pid"] for rank in first["ranks"]}.isdisjoint(rank["pid"] for rank in second["ranks"])
    assert "torchrun of node rank 0 was killed by SIGKILL" in pod.record().warnings[0]
    assert pod.survivors() == []


def test_rendezvous_failure_is_named_when_torchrun_ends_before_any_rank_exists(start_pod: StartPod) -> None:
    changes = {"NODES": "2", "RENDEZVOUS_ENDPOINT": "r0:29400", "RENDEZVOUS_ID": "x-a2", "JOIN_TIMEOUT_SECONDS": "5"}
    pod = start_pod("launcher_fails", **changes)

    assert pod.wait() == EXIT_CODES[Cause.RENDEZVOUS_FAILED]
    failure = pod.record().failure
    assert failure is not None
    assert "Node rank 0 of 2 nodes did not join" in failure["message"]


def test_missing_name_of_node_zero_is_named_when_it_never_resolves(start_pod: StartPod) -> None:
    changes = {"NODES": "2", "NODE_RANK": "1", "RENDEZVOUS_ENDPOINT": "nowhere.invalid:29400"}
    pod = start_pod("succeed", **changes, RENDEZVOUS_ID="x-a2", JOIN_TIMEOUT_SECONDS="1")

    assert pod.wait() == EXIT_CODES[Cause.RENDEZVOUS_FAILED]
    failure = pod.record().failure
    assert failure is not None
    assert "nowhere.invalid was not found" in failure["message"]
