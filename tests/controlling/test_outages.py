"""The API server is away, watches begin anew, and watches that bring nothing: jobs go on, and the operator finds its way back."""

import pytest
from controlled_world import JOB, World, refer

from oarlock_operator.probes import find_stall, find_unready

TEN_MINUTES = 600.0


async def be_away(world: World, *, seconds: float = TEN_MINUTES) -> None:
    world.cluster.go_away()
    await world.cluster.clock.advance(seconds)


async def come_back(world: World) -> None:
    world.cluster.come_back()
    await world.pass_time(120)


def uids(world: World) -> list[str]:
    return [pod["metadata"]["uid"] for pod in world.pods()]


async def test_training_goes_on_and_nothing_is_doubled_when_the_server_is_away_for_ten_minutes(world: World) -> None:
    pods = await world.train(nodes=2)
    created = list(world.cluster.created)

    await be_away(world)
    assert not world.is_dead
    await come_back(world)

    assert (world.status()["phase"], world.status()["attempt"]) == ("Training", 0)
    assert uids(world) == [pod["metadata"]["uid"] for pod in pods]
    assert world.cluster.created == created
    assert find_unready(world.controller) == ""


async def test_everything_that_happened_meanwhile_is_found_when_the_server_comes_back(world: World) -> None:
    pods = await world.train(nodes=2)
    await world.apply_job(name="late", nodes=1)

    await be_away(world)
    for pod in pods:
        world.end_pod(pod, step=94, steps=94)
    [late] = [pod for pod in world.pods() if pod["metadata"]["name"].startswith("late")]
    world.cluster.finish_pod(refer(late))
    await come_back(world)

    assert world.status()["phase"] == "Succeeded"
    assert [pod["metadata"]["name"][:5] for pod in world.pods() if pod["status"]["phase"] == "Pending"] == ["late-"]


async def test_operator_is_not_restarted_for_a_server_that_is_away_for_ten_minutes(world: World) -> None:
    await world.train()

    await be_away(world, seconds=TEN_MINUTES - 5)

    assert "has not got through" in find_unready(world.controller)
    assert find_stall(world.controller) == ""


async def test_new_job_is_noticed_when_the_operator_started_while_the_server_was_away() -> None:
    world = World()
    await world.add_node()
    world.cluster.go_away()
    await world.start()
    await world.cluster.clock.advance(TEN_MINUTES)
    world.cluster.come_back()
    await world.pass_time(60)

    assert (await world.train())[0]["status"]["phase"] == "Running"
    await world.kill()


async def test_what_vanished_before_a_watch_began_anew_is_noticed(world: World) -> None:
    """410: the server no longer knows what happened since."""
    pods = await world.train(nodes=2)
    world.cluster.hold_events("Pod", "TrainingJob")
    world.cluster.finish_pod(refer(pods[1]))
    await world.settle()
    assert world.status()["attempt"] == 0

    world.cluster.lose_events()
    await world.pass_time(30)

    assert world.status()["attempt"] == 1
    assert world.status()["restarts"] == {"PodDeleted": 1}


async def test_job_that_vanished_before_a_watch_began_anew_is_forgotten(world: World) -> None:
    await world.train()
    world.cluster.hold_events("Pod", "TrainingJob")
    world.cluster.remove(JOB)
    world.finish_deletions()

    world.cluster.lose_events()
    await world.pass_time(30)

    assert not list(world.controller.store.jobs)
    assert world.pods() == []


@pytest.mark.parametrize(("kind", "patience"), [("TrainingJob", 600), ("Pod", 600)])
async def test_operator_is_restarted_in_the_end_when_a_watch_does_not_bring_what_was_written(
    world: World, kind: str, patience: float
) -> None:
    await world.import_data()
    world.cluster.hold_events(kind)
    await world.apply_job() if kind == "Pod" else None
    if kind == "TrainingJob":
        world.cluster.release_events()
        await world.apply_job()
        world.cluster.hold_events(kind)
        world.run_pods()
        await world.settle()

    await world.pass_time(300)
    assert f"the watch of {kind} has not brought" in find_unready(world.controller)
    assert find_stall(world.controller) == ""
    await world.pass_time(patience)
    assert f"the watch of {kind} has not brought" in find_stall(world.controller)

    world.cluster.release_events()
    await world.pass_time(60)
    assert find_stall(world.controller) == find_unready(world.controller) == ""
