"""The table of causes in docs/policies.md says what the policies do."""

import re
from pathlib import Path

import pytest

from oarlock_operator.policy.exclusion import BLAMED
from oarlock_operator.policy.restarts import BUDGETS, Budget

PAGE = Path(__file__).parents[2] / "docs" / "policies.md"
COUNTS = {
    Budget.FREE: "no",
    Budget.WINDOWED: "only if frequent or without progress",
    Budget.COUNTED: "yes",
    Budget.NEVER: "",
}


def read_table() -> dict[str, list[str]]:
    """Return the cells of a row by each cause that it names: a new attempt, whether it counts, whether against the node."""
    rows = [line.strip("|").split("|") for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in row] for row in rows]
    return {cause: row[2:] for row in cells if len(row) == 5 for cause in re.findall(r"`([A-Z]\w+)`", row[1])}


TABLE = read_table()


def test_every_cause_is_in_the_table() -> None:
    assert TABLE.keys() == {str(cause) for cause in BUDGETS}


@pytest.mark.parametrize("cause", sorted(map(str, BUDGETS)))
def test_table_says_what_the_policy_does(cause: str) -> None:
    attempt, counts, node = TABLE[cause]

    assert attempt.startswith("no" if BUDGETS[cause] is Budget.NEVER else "yes")
    assert counts == COUNTS[BUDGETS[cause]]
    assert (node == "yes") == (cause in BLAMED)
