"""How many nodes an elastic job takes: within its bounds, whatever the scheduler says."""

from dataclasses import replace

import hypothesis.strategies as st
import pytest
from hypothesis import given

from oarlock_api.v1alpha1.training_job import Elastic
from oarlock_operator.policy.elastic import clamp_nodes, compute_growth_start, find_growth, find_shrink, pays_to_grow
from oarlock_operator.policy.placing import finds_no_room
from oarlock_operator.reconcile.observed import ObservedPod

NOW = 1_800_000_000.0
NO_ROOM = "0/3 nodes are available: 3 Insufficient cpu."
POD = ObservedPod(name="p", uid="u", owner_uid="j", attempt=0, rank=0, run_hash="h", phase="Pending", created=NOW)
PLACED = replace(POD, scheduled=True, scheduled_at=NOW, node="n")
WAITING = replace(POD, unschedulable=NO_ROOM)

pods = st.lists(st.sampled_from([PLACED, WAITING, POD]), max_size=8)


@given(pods, st.integers(1, 8), st.integers(0, 3), st.integers(1, 8))
def test_a_gang_shrinks_only_to_what_has_a_place(gang: list[ObservedPod], nodes: int, refused: int, least: int) -> None:
    found = find_shrink(gang, nodes=nodes, refused=refused, elastic=Elastic(min_nodes=least, max_nodes=8), patience=30)

    if found is not None:
        assert least <= found.nodes == gang.count(PLACED) < nodes
        assert found.due == NOW + 30


@given(st.lists(st.sampled_from([PLACED, WAITING, POD]), max_size=6), st.integers(1, 4), st.integers(1, 8))
def test_a_gang_grows_by_the_scouts_that_have_a_place_and_to_no_more_than_is_wanted(
    scouts: list[ObservedPod], nodes: int, more: int
) -> None:
    found = find_growth(scouts, nodes=nodes, wanted=nodes + more, patience=30)

    assert (found is None) == (PLACED not in scouts)
    if found is not None:
        assert nodes < found.nodes == min(nodes + more, nodes + scouts.count(PLACED))
        assert found.due == (NOW if found.nodes == nodes + more else NOW + 30)


@pytest.mark.parametrize(
    ("pod", "waits"),
    [
        (WAITING, True),
        (POD, False),
        (PLACED, False),
        (replace(WAITING, is_gated=True), False),
        (replace(WAITING, unschedulable='persistentvolumeclaim "data" not found'), False),
        (
            replace(WAITING, unschedulable="0/3 nodes are available: 3 node(s) had volume node affinity conflict."),
            False,
        ),
    ],
)
def test_only_a_pod_that_the_scheduler_has_refused_finds_no_room(pod: ObservedPod, waits: bool) -> None:  # noqa: FBT001
    assert finds_no_room(pod) is waits


@pytest.mark.parametrize(
    ("eta", "is_asked", "pays"), [(None, False, True), (3600, False, True), (200, False, False), (200, True, True)]
)
def test_more_nodes_pay_unless_the_run_is_about_to_end(eta: int | None, is_asked: bool, pays: bool) -> None:  # noqa: FBT001
    assert pays_to_grow(eta_seconds=eta, interval=300, is_asked=is_asked) is pays


def test_scouts_are_sent_after_a_while_and_at_once_when_somebody_asks() -> None:
    assert compute_growth_start(training_since=NOW, interval=300, is_asked=False) == NOW + 300
    assert compute_growth_start(training_since=NOW, interval=300, is_asked=True) == NOW


@given(st.integers(-5, 2000), st.integers(1, 8), st.integers(0, 8))
def test_what_is_wanted_stays_within_the_bounds(wanted: int, least: int, span: int) -> None:
    bounds = Elastic(min_nodes=least, max_nodes=least + span)

    assert least <= clamp_nodes(wanted, bounds) <= least + span
    assert clamp_nodes(clamp_nodes(wanted, bounds), bounds) == clamp_nodes(wanted, bounds)
