"""All agents of a gang are asked while rank 0's cannot know who is missing, or who does not move, and only then."""

from collections import Counter
from typing import Any

import pytest
from controlled_world import World

from oarlock_api.contract import JoinState, JoinStatus, StalledRank, Standing
from oarlock_operator.progress import _MAX_PEERS


def join(state: str, detail: str = "") -> dict[str, Any]:
    return JoinStatus(state=state, since=1_700_000_000.0, endpoint="r0-a0.lenet:29400", detail=detail).to_wire()


def stall(rank: int, standing: Standing) -> dict[str, Any]:
    return StalledRank(
        rank=rank, pid=7, phase="Training", step=12, since=1_700_000_100.0, due=1_700_000_700.0, standing=standing
    ).to_wire()


@pytest.fixture
def asked(world: World, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each pod's agent was asked."""
    counts: Counter[str] = Counter()
    fetch = world.cluster.fetch_worker_status

    async def count(pod: dict[str, Any]) -> bytes:
        counts[pod["metadata"]["name"]] += 1
        return await fetch(pod)

    monkeypatch.setattr(world.cluster, "fetch_worker_status", count)
    return counts


async def gather_gang(world: World, *, nodes: int) -> list[dict[str, Any]]:
    await world.import_data()
    await world.apply_job(nodes=nodes, recipe={"epochs": 2, "batchSize": 256})
    world.run_pods()
    pods = sorted(world.pods(), key=lambda pod: int(pod["metadata"]["labels"]["oarlock.dev/rank"]))
    world.answer(pods[0], phase="Rendezvous", join=join(JoinState.JOINED))
    await world.settle()
    return pods


async def test_missing_node_is_named_within_30_seconds_when_it_cannot_find_node_zero(world: World) -> None:
    pods = await gather_gang(world, nodes=3)
    world.answer(pods[1], node=1, phase="Rendezvous", join=join(JoinState.JOINED))
    world.answer(pods[2], node=2, phase="Rendezvous", join=join(JoinState.NAME_UNKNOWN, "Name or service not known"))
    await world.pass_time(20)

    status = world.status()
    assert (status["phase"], status["reason"]) == ("Rendezvous", "RendezvousNameUnknown")
    assert status["message"].startswith(
        f"Rendezvous 2 of 3: waiting for node rank 2 (pod {pods[2]['metadata']['name']}"
    )


async def test_only_rank_zero_is_asked_when_the_gang_trains(world: World, asked: Counter[str]) -> None:
    pods = await gather_gang(world, nodes=3)
    world.answer(pods[0], step=5, join=join(JoinState.JOINED))
    await world.pass_time(10)
    asked.clear()
    await world.pass_time(60)

    assert set(asked) == {pods[0]["metadata"]["name"]}


async def test_nodes_that_have_joined_make_room_when_the_gang_is_large(world: World, asked: Counter[str]) -> None:
    nodes = 2 * _MAX_PEERS + 10
    pods = await gather_gang(world, nodes=nodes)
    for rank, pod in enumerate(pods[1:], start=1):
        state = JoinState.CONNECTING if rank == nodes - 1 else JoinState.JOINED
        world.answer(pod, node=rank, phase="Rendezvous", join=join(state))
    for _ in range(12):
        await world.pass_time(6)

    joined = [asked[pod["metadata"]["name"]] for pod in pods[1:-1]]
    assert world.status()["message"].startswith(f"Rendezvous {nodes - 1} of {nodes}: waiting for node rank {nodes - 1}")
    assert set(joined) == {1}
    assert asked[pods[-1]["metadata"]["name"]] > 1


async def test_no_more_than_some_are_asked_at_once_when_nobody_joins(world: World, asked: Counter[str]) -> None:
    pods = await gather_gang(world, nodes=2 * _MAX_PEERS)
    asked.clear()
    for _ in range(10):
        await world.pass_time(6)

    assert len(asked.keys() - {pods[0]["metadata"]["name"]}) == _MAX_PEERS


async def test_culprit_of_another_pod_is_named_when_rank_zero_waits_for_it(world: World) -> None:
    pods = await gather_gang(world, nodes=2)
    world.answer(pods[0], step=12, join=join(JoinState.JOINED))
    await world.pass_time(10)
    world.answer(pods[0], step=12, join=join(JoinState.JOINED), stalled=[stall(0, Standing.WAITS_FOR_RANKS)])
    world.answer(pods[1], node=1, step=12, join=join(JoinState.JOINED), stalled=[stall(1, Standing.STOPPED)])
    await world.pass_time(30)

    status = world.status()
    assert (status["phase"], status["reason"]) == ("Training", "Stalled")
    assert status["message"].startswith(
        f"rank 1 (pod {pods[1]['metadata']['name']} on node node-1) has not moved since"
    )
    assert "its process is stopped, by SIGSTOP or a debugger" in status["message"]

    world.answer(pods[0], step=13, join=join(JoinState.JOINED))
    await world.pass_time(61)
    assert world.status()["reason"] == "Training"


async def test_nothing_breaks_when_a_peer_lies(world: World) -> None:
    pods = await gather_gang(world, nodes=2)
    for lie in ({"state": 5}, {"state": "x" * 9000, "since": 1.0}, {"since": -1.0, "state": "Joined"}):
        world.answer(pods[1], node=1, phase="Rendezvous", join=lie)
        await world.pass_time(60)

    assert world.status()["phase"] == "Rendezvous"
    assert len(world.status()["message"]) < 700
