"""The page of faults says what the table says, and the table is whole."""

import re
from collections import Counter
from pathlib import Path

import pytest
from faults.fault import Answer, Fault, find_difference, match_shape
from faults.page import FAULTS, PAGE, build_page

from oarlock_api.v1alpha1.status import JobPhase
from oarlock_operator.policy.restarts import Budget, budget_of

TESTS = Path(__file__).parents[1]
BUDGETS = {
    Answer.FREE: Budget.FREE,
    Answer.WINDOWED: Budget.WINDOWED,
    Answer.COUNTED: Budget.COUNTED,
    Answer.NEVER: Budget.NEVER,
}


def test_page_is_what_the_table_says() -> None:
    assert PAGE.read_text() == build_page(), "run PYTHONPATH=tests python -m faults.page"


def test_names_are_unique_and_fit_for_jobs() -> None:
    names = Counter(fault.name for fault in FAULTS)

    assert [name for name, count in names.items() if count > 1] == []
    assert all(re.fullmatch(r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?", name) for name in names)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_row_is_whole_and_its_test_names_it(fault: Fault) -> None:
    assert fault.phase in set(JobPhase)
    assert all((fault.fault, fault.injected, fault.reason, fault.message, fault.remedy))
    assert f'"{fault.name}"' in (TESTS / fault.test).read_text()
    if fault.answer in BUDGETS and fault.phase != JobPhase.INVALID:
        assert budget_of(fault.reason) is BUDGETS[fault.answer]


def test_shape_holds_names_and_nothing_else_open() -> None:
    assert match_shape("pod <pod> was evicted", "attempt 1: pod a-0 on node n was evicted: low on memory")
    assert not match_shape("pod <pod> was evicted", "pod a-0 was deleted")


def test_difference_is_found_when_the_status_says_something_else() -> None:
    row = Fault(
        name="evicted", topic="", fault="", injected="", phase="Restarting", reason="Evicted",
        message="pod <pod> was evicted", remedy="resumes", answer=Answer.FREE, test="",
    )  # fmt: skip
    failure = {"cause": "Evicted", "message": "pod a was evicted", "remedy": "training resumes by itself"}

    assert find_difference(row, {"phase": "Restarting", "failures": [failure]}) == ""
    assert find_difference(row, {"phase": "Starting", "reason": "Creating"}) != ""
