"""Which nodes a job avoids, for how long, and never too many."""

from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given

from oarlock_api.contract import Cause
from oarlock_api.v1alpha1.status import MAX_EXCLUDED_NODES, ExcludedNode, FailureRecord
from oarlock_operator.manifests.exclusion import exclude_nodes as exclude_from
from oarlock_operator.policy.causes import OperatorCause
from oarlock_operator.policy.exclusion import BLAMED, FORGOTTEN_SECONDS, exclude_nodes
from oarlock_operator.policy.restarts import Budget, budget_of
from oarlock_operator.policy.times import format_time

NOW = 1_800_000_000.0
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


def fault(node: str, cause: str = "Hung", *, ago: float = 0) -> FailureRecord:
    return FailureRecord(attempt=0, cause=cause, message="", node=node, time=format_time(NOW - ago))


def avoided(node: str, *, ago: float = 0) -> ExcludedNode:
    return ExcludedNode(node=node, reason="2 faults: Hung", since=format_time(NOW - ago))


def exclude(
    *failures: FailureRecord, before: tuple[ExcludedNode, ...] = (), usable: int | None = 10, needed: int = 1
) -> list[str]:
    found = exclude_nodes(before, failures, usable_nodes=usable, needed=needed, now=NOW)
    return [each.node for each in found]


@pytest.mark.parametrize(
    ("failures", "nodes"),
    [
        ([fault("a")], []),
        ([fault("a"), fault("a", "NodeLost")], ["a"]),
        ([fault("a"), fault("b"), fault("a", "ProcessKilled")], ["a"]),
        ([fault("a"), fault("a"), fault("b")], []),
        ([fault("a", ago=FORGOTTEN_SECONDS + 1), fault("a")], []),
        ([fault("a", "UserError"), fault("a", "UserError")], []),
        ([fault("a", "Evicted"), fault("a", "Evicted")], []),
        ([fault("a"), fault("a"), fault("a", "UserError")], []),
        ([fault(""), fault("")], []),
        ([], []),
    ],
)
def test_a_node_is_avoided_when_it_is_to_blame_for_two_faults(failures: list[FailureRecord], nodes: list[str]) -> None:
    assert exclude(*failures) == nodes


def test_the_reason_counts_the_faults() -> None:
    [found] = exclude_nodes((), [fault("a"), fault("a", "NodeLost")], usable_nodes=9, needed=1, now=NOW)

    assert (found.reason, found.since) == ("2 faults: Hung, NodeLost", format_time(NOW))


def test_a_node_is_avoided_no_longer_when_hours_have_passed() -> None:
    old, fresh = avoided("a", ago=FORGOTTEN_SECONDS + 1), avoided("b", ago=60)

    assert exclude(fault("c", "UserError"), before=(old, fresh)) == ["b"]


@pytest.mark.parametrize(("usable", "needed", "nodes"), [(1, 1, []), (2, 2, []), (2, 1, ["a"]), (None, 9, ["a"])])
def test_a_node_is_not_avoided_when_too_few_would_be_left(usable: int | None, needed: int, nodes: list[str]) -> None:
    assert exclude(fault("a"), fault("a"), usable=usable, needed=needed) == nodes


@given(
    st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from(sorted(BLAMED))), max_size=60),
    st.integers(0, 8),
    st.integers(1, 4),
)
def test_never_many_nodes_are_avoided_and_each_only_once(
    history: list[tuple[str, Any]], usable: int, needed: int
) -> None:
    excluded: list[ExcludedNode] = []
    for index in range(len(history)):
        failures = [fault(node, cause) for node, cause in history[max(0, index - 2) : index + 1]]
        excluded = exclude_nodes(excluded, failures, usable_nodes=usable, needed=needed, now=NOW)
        names = [each.node for each in excluded]
        assert len(names) == len(set(names)) <= MAX_EXCLUDED_NODES
        assert not names or usable - len(names) >= needed


def test_what_the_user_does_wrong_is_never_blamed_on_a_node() -> None:
    causes = [*(cause.value for cause in Cause), *(cause.value for cause in OperatorCause)]

    assert not {cause for cause in causes if budget_of(cause) in (Budget.COUNTED, Budget.NEVER)} & BLAMED
    assert not {"Evicted", "Preempted", "PodDeleted"} & BLAMED


def test_every_alternative_of_a_user_keeps_away_from_the_node() -> None:
    gpu, zone = ({"key": key, "operator": "Exists"} for key in ("gpu", "zone"))
    other = {"key": "metadata.name", "operator": "NotIn", "values": ["c"]}
    terms: list[dict[str, Any]] = [
        {"matchExpressions": [gpu]},
        {"matchExpressions": [zone], "matchFields": [other]},
        {},
    ]
    asked = {"podAffinity": {}, "nodeAffinity": {REQUIRED: {"nodeSelectorTerms": terms}}}
    a, b = ({**other, "values": [node]} for node in "ab")

    merged = exclude_from(asked, ["a", "b"])

    assert merged["podAffinity"] == {}
    assert merged["nodeAffinity"][REQUIRED]["nodeSelectorTerms"] == [
        {"matchExpressions": [gpu], "matchFields": [a, b]},
        {"matchExpressions": [zone], "matchFields": [other, a, b]},
        {},
    ]
    assert exclude_from(None, []) == {}
    assert exclude_from(None, ["a"])["nodeAffinity"][REQUIRED]["nodeSelectorTerms"] == [{"matchFields": [a]}]
