"""How pods end: real agents, with stand-ins for torchrun and its ranks."""

from collections.abc import Callable

import pytest
from agent.pods import Pod

from oarlock_api.contract import EXIT_CODES, Cause, Outcome

StartPod = Callable[..., Pod]


def test_pod_succeeds_when_all_ranks_do(start_pod: StartPod) -> None:
    pod = start_pod("succeed")

    assert pod.wait() == 0
    record = pod.record()
    assert (record.outcome, record.failure) == (Outcome.SUCCEEDED, None)
    assert (record.step, record.position, record.steps, record.metrics) == (20, 200, 20, {"train/loss": 0.5})
    assert record.checkpoint_latest is not None
    assert record.checkpoint_latest["path"] == "checkpoints/step-20"
    assert (record.attempt, record.node, record.run_hash) == (2, 0, "0123456789abcdef")


@pytest.mark.parametrize(
    ("scenario", "cause", "rank", "text"),
    [
        ("exception", Cause.USER_ERROR, 1, "no such column"),
        ("unreported_exit", Cause.UNKNOWN, None, "ended with exit code 3 in phase Loading"),
        ("data_missing_exit", Cause.DATA_MISSING, None, "ended with exit code 66"),
        ("unfinished_exit", Cause.UNKNOWN, None, "yet not all work was finished: Rank 0"),
        ("launcher_fails", Cause.UNKNOWN, None, "before any rank could start"),
    ],
)
def test_pod_fails_with_the_first_cause_when_ranks_end_badly(
    start_pod: StartPod, scenario: str, cause: Cause, rank: int | None, text: str
) -> None:
    pod = start_pod(scenario)

    assert pod.wait() == EXIT_CODES[cause]
    record = pod.record()
    assert record.failure is not None
    assert (record.outcome, record.failure["cause"], record.retries) == (Outcome.FAILED, cause, 0)
    assert rank is None or record.failure["rank"] == rank
    assert text in record.failure["message"]


def test_end_of_the_log_is_in_the_detail_when_a_rank_does_not_report(start_pod: StartPod) -> None:
    pod = start_pod("unreported_exit")
    pod.wait()
    failure = pod.record().failure

    assert failure is not None
    assert "ImportError: no such module" in failure["detail"]


def test_pod_is_superseded_when_a_rank_finds_a_later_attempt(start_pod: StartPod) -> None:
    pod = start_pod("superseded")

    assert pod.wait() == EXIT_CODES[Cause.SUPERSEDED]
    assert pod.record().outcome == Outcome.SUPERSEDED


def test_nothing_is_left_when_ranks_leave_processes_behind(start_pod: StartPod) -> None:
    pod = start_pod("with_orphans_killed")
    pod.wait_for(lambda status: status["ranks"])
    pod.wait()

    assert pod.survivors() == []


def test_import_ends_with_the_facts_of_the_data_set_when_it_succeeds(start_pod: StartPod) -> None:
    pod = start_pod("imports", mode="import")

    assert pod.wait() == 0
    record = pod.record()
    assert record.dataset is not None
    assert (record.dataset["version"], record.dataset["counts"], record.position) == ("abc", {"train": 3}, 3)


def test_import_fails_with_its_cause_when_it_reports_one(start_pod: StartPod) -> None:
    pod = start_pod("import_fails", mode="import")

    assert pod.wait() == EXIT_CODES[Cause.DATA_MISSING]
    failure = pod.record().failure
    assert failure is not None
    assert failure["message"] == "the folder digits/ is empty"
