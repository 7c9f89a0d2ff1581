"""What the chart takes for a queue, the operator that it installs takes as well, and refuses what that would refuse."""

import json
import re

import pytest
from chart.releases import CHART, RELEASE, helm
from hypothesis import given
from hypothesis import strategies as st

from oarlock_operator.cluster.permissions import queue_rights
from oarlock_operator.queueing.capacity import parse_budget
from oarlock_operator.settings import Settings

_SCHEMA = json.loads((CHART / "values.schema.json").read_text())
_PATTERN = re.compile(_SCHEMA["properties"]["queue"]["properties"]["budget"]["pattern"])


def is_readable(text: str) -> bool:
    try:
        parse_budget(text)
    except ValueError as error:
        return "twice" in str(error)  # no pattern finds that
    return True


@pytest.mark.parametrize(
    ("text", "amounts"),
    [
        ("", {}),
        ("nvidia.com/gpu=16, cpu=64", {"nvidia.com/gpu": 16, "cpu": 64}),
        ("cpu=500m,memory=1.5Gi,example.com/a_b=0", {"cpu": 0.5, "memory": 1.5 * 2**30, "example.com/a_b": 0}),
    ],
)
def test_budgets_are_read(text: str, amounts: dict[str, float]) -> None:
    assert parse_budget(text) == amounts
    assert _PATTERN.search(text)


@pytest.mark.parametrize(
    "text",
    [
        *("gpu", "=4", "gpu=", "gpu=many", "gpu=-1", "cpu=64foo", "cpu=1.2.3", "cpu=.5", "cpu=1e3", "cpu=8,", ",cpu=8"),
        *("cpu=1 Gi", "c pu=1", "cpu=8,,gpu=1", "cpu=1ki", "cpu=inf", "cpu=" + "9" * 400, "cpu==1", "\ncpu=1"),
    ],
)
def test_budgets_that_cannot_be_read_are_refused_by_both(text: str) -> None:
    with pytest.raises(ValueError, match="RESOURCE=AMOUNT"):
        parse_budget(text)
    assert not _PATTERN.search(text)


@given(st.text(alphabet="cpu/.=, 016mKGi-e\t", max_size=20))
def test_chart_and_operator_agree_about_every_budget(text: str) -> None:
    assert bool(_PATTERN.search(text)) == is_readable(text)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ("queue.budget=cpu=64foo", "budget"),
        ("queue.budget=cpu=8\\,cpu=16", "each resource once, got cpu twice in cpu=8,cpu=16"),
        ("watchNamespace=team,queue.enabled=true", "queue.enabled=true needs queue.budget where watchNamespace is set"),
    ],
)
def test_values_that_the_operator_would_refuse_are_refused_by_the_chart(values: str, says: str) -> None:
    refused = helm("template", RELEASE, str(CHART), "--set", values)

    assert refused.returncode != 0
    assert says in refused.stderr


def test_values_that_fit_are_taken_by_the_chart() -> None:
    taken = "watchNamespace=team,queue.enabled=true,queue.budget=cpu=8\\,nvidia.com/gpu=16"
    assert helm("template", RELEASE, str(CHART), "--set", taken).returncode == 0


@pytest.mark.parametrize(
    ("queueing", "budget", "count"), [("on", "", 2), ("on", "cpu=1", 0), ("auto", "", 0), ("off", "", 0)]
)
def test_queue_that_is_asked_for_must_see_nodes_unless_it_has_a_budget(queueing: str, budget: str, count: int) -> None:
    assert len(list(queue_rights(Settings(queueing=queueing, queue_budget=budget)))) == count
