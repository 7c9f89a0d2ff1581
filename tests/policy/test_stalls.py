"""Which rank holds up the others: pure."""

import itertools

from hypothesis import given
from hypothesis import strategies as st
from policy.test_rendezvous import make_member
from reconciling.job_states import NOW, make_worker_status

from oarlock_api.contract import StalledRank, Standing
from oarlock_operator.policy.stalls import explain_stall
from oarlock_operator.reconcile.observed import WorkerReport

PODS = {rank: make_member(rank) for rank in range(4)}


def stalled(
    rank: int, standing: str, *, since: float = NOW, step: int | None = 120, where: str = "", due: float | None = None
) -> StalledRank:
    return StalledRank(
        rank=rank, pid=9, phase="Training", step=step, since=since, due=due, standing=standing, where=where
    )


def report(*ranks: StalledRank, failing_since: float | None = None) -> WorkerReport:
    status = make_worker_status(stalled=[rank.to_wire() for rank in ranks])
    return WorkerReport(status=status, answered=NOW, failing_since=failing_since)


def test_nothing_is_said_when_all_move() -> None:
    assert explain_stall(PODS, {0: report(), 1: report()}) == ""


def test_culprit_is_named_with_its_place_when_others_wait_for_it() -> None:
    culprit = stalled(3, Standing.BUSY, where="model.py:7 in forward", due=NOW + 600)
    victims = [report(stalled(rank, Standing.WAITS_FOR_RANKS, since=NOW - 1)) for rank in range(3)]

    assert explain_stall(PODS, dict(enumerate([*victims, report(culprit)]))) == (
        "rank 3 (pod lenet-3 on node node-3) has not moved since 2027-01-15T08:00:00Z in phase Training after step 120;"
        " it counts as hung at 2027-01-15T08:10:00Z; it is in code of its own (model.py:7 in forward): see there"
        " whether it waits for something"
    )


def test_silent_agent_is_suspected_when_all_others_wait_for_ranks() -> None:
    reports = {0: report(stalled(0, Standing.WAITS_FOR_RANKS)), 2: WorkerReport(status=None, failing_since=NOW)}

    assert "the agent of pod lenet-2 on node node-2 does not answer" in explain_stall(PODS, reports)


def test_network_is_suspected_when_everybody_waits_for_others() -> None:
    reports = {rank: report(stalled(rank, Standing.WAITS_FOR_RANKS)) for rank in PODS}

    assert "as all that are known do: check the network between the nodes" in explain_stall(PODS, reports)


@given(
    standings=st.lists(st.sampled_from(Standing), min_size=1, max_size=4),
    since=st.lists(st.floats(NOW - 100, NOW), min_size=4, max_size=4),
)
def test_rank_that_stands_nearest_to_the_cause_is_named(standings: list[Standing], since: list[float]) -> None:
    reports = {r: report(stalled(r, s, since=since[r])) for r, s in enumerate(standings)}
    said = explain_stall(PODS, reports)

    named = int(said.split()[1])
    order = list(Standing)
    assert order.index(standings[named]) == min(map(order.index, standings))
    assert all(said == explain_stall(PODS, dict(each)) for each in itertools.permutations(reports.items()))
