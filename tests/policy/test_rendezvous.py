"""Who is missing at the rendezvous, and why: pure."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reconciling.job_states import NOW, make_worker_status

from oarlock_api.contract import JoinState, JoinStatus, WorkerStatus
from oarlock_operator.policy.rendezvous import Rendezvous, explain_rendezvous, has_joined
from oarlock_operator.reconcile.observed import ObservedPod, WorkerReport


def make_member(rank: int) -> ObservedPod:
    return ObservedPod(
        name=f"lenet-{rank}", uid=f"u{rank}", owner_uid="o", attempt=0, rank=rank, run_hash="h", phase="Running",
        created=NOW, node=f"node-{rank}",
    )  # fmt: skip


def report(state: str | None, *, detail: str = "", phase: str = "Rendezvous") -> WorkerReport:
    join = JoinStatus(state=state, since=NOW, endpoint="r0.lenet:29400", detail=detail).to_wire() if state else None
    return WorkerReport(status=make_worker_status(phase=phase, step=0, join=join), answered=NOW)


def explain(nodes: int, reports: dict[int, WorkerReport], *, seconds: float = 60) -> Rendezvous:
    return explain_rendezvous([make_member(rank) for rank in range(nodes)], reports, since=NOW, now=NOW + seconds)


SILENT = WorkerReport(status=None, failing_since=NOW)
JOINED = report(JoinState.JOINED)


@pytest.mark.parametrize(
    ("missing", "reason", "said"),
    [
        (
            report(JoinState.NAME_UNKNOWN, detail="Name or service not known"),
            "RendezvousNameUnknown",
            "Rank 2 finds no address for r0.lenet:29400 (Name or service not known). Check that DNS answers",
        ),
        (
            report(JoinState.UNREACHABLE),
            "RendezvousUnreachable",
            "Rank 2 gets no answer from r0.lenet:29400 in pod lenet-0 on node node-0. Check that a NetworkPolicy",
        ),
        (
            report(JoinState.REFUSED),
            "RendezvousRefused",
            "Nobody listens at r0.lenet:29400. See the log of pod lenet-0",
        ),
        (SILENT, "AgentSilent", "Its agent does not answer, those of others do"),
        (report(JoinState.CONNECTING), "Joining", "its torchrun is starting"),
        (report(JoinState.STARTING), "Joining", "its torchrun is starting"),
        (report(None), "Joining", "its torchrun is starting"),
        (report("SomethingNewer"), "Joining", "its torchrun is starting"),
    ],
)
def test_missing_node_and_the_cause_are_named(missing: WorkerReport, reason: str, said: str) -> None:
    reports = dict.fromkeys(range(4), JOINED) | {2: missing}
    found = explain(4, reports)

    assert found.reason == reason
    assert found.message.startswith("Rendezvous 3 of 4: waiting for node rank 2 (pod lenet-2 on node node-2)")
    assert said in found.message


def test_no_cause_is_sought_while_torchrun_comes_up_everywhere() -> None:
    reports = {0: report(JoinState.STARTING), 1: report(JoinState.REFUSED)}
    early, late = explain(2, reports, seconds=5), explain(2, reports, seconds=15)

    assert (early.reason, early.wake_at, late.reason) == ("Joining", NOW + 15, "RendezvousRefused")
    assert early.message.endswith(
        "node ranks 0 (pod lenet-0 on node node-0), 1 (pod lenet-1 on node node-1): torchrun is starting"
    )
    assert late.message.startswith("Rendezvous 0 of 2: waiting for node ranks 0 (pod lenet-0 on node node-0), 1")


def test_node_zero_is_named_when_its_port_is_taken_and_nobody_can_join() -> None:
    reports = dict.fromkeys(range(3), report(JoinState.CONNECTING)) | {0: report(JoinState.PORT_TAKEN)}
    found = explain(3, reports)

    assert found.reason == "RendezvousPortTaken"
    assert found.message.startswith("Rendezvous 0 of 3: waiting for node ranks 0 (pod lenet-0 on node node-0), 1 (")
    assert "Another process listens on the port of r0.lenet:29400 on node node-0" in found.message


def test_operator_is_suspected_when_no_agent_answers() -> None:
    found = explain(2, dict.fromkeys(range(2), SILENT))

    assert found.reason == "AgentSilent"
    assert "NetworkPolicy lets the operator reach" in found.message


def test_ranks_that_still_connect_are_named_when_all_nodes_have_joined() -> None:
    reports = {0: report(JoinState.JOINED, phase="Loading"), 1: JOINED}
    found = explain(2, reports)

    assert found.message.startswith(
        "Rendezvous 2 of 2: all nodes have joined; node rank 1 (pod lenet-1 on node node-1)"
    )


@given(states=st.lists(st.sampled_from([*JoinState, None, "?"]), min_size=2, max_size=600), silent=st.booleans())
def test_message_is_short_and_counts_right_whatever_the_agents_say(states: list[str | None], *, silent: bool) -> None:
    reports = {rank: SILENT if silent and rank % 3 == 0 else report(state) for rank, state in enumerate(states)}
    found = explain(len(states), reports)

    joined = sum(1 for each in reports.values() if each.failing_since is None and has_joined(as_status(each)))
    assert found.message.startswith(f"Rendezvous {joined} of {len(states)}: ")
    assert len(found.message) < 700


def as_status(each: WorkerReport) -> WorkerStatus:
    assert each.status is not None
    return each.status
