"""Gangs that are handed over to a scheduler of PodGroups: one controller, and a cluster in memory that may not know them."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from controlled_world import JOB, NAMESPACE, World, refer
from fake_cluster import FakeCluster, refuse

from oarlock_operator import names
from oarlock_operator.cluster.port import NotFoundError, UnavailableError
from oarlock_operator.controller import Controller
from oarlock_operator.probes import find_unready
from oarlock_operator.reconcile.plans import Reference
from oarlock_operator.settings import Settings

VOLCANO = Settings(pod_groups="volcano")
GONE = NotFoundError("404 page not found", status=404)


def groups(world: World) -> list[str]:
    return [group["metadata"]["name"] for group in world.cluster.find("PodGroup")]


def group_name(world: World, attempt: int = 0) -> str:
    return names.pod_group_name(JOB.name, world.cluster.objects[JOB]["metadata"]["uid"], attempt=attempt)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World(VOLCANO)
    await world.add_node()
    yield world
    await world.kill()


async def test_group_comes_before_its_pods_and_goes_with_its_attempt(world: World) -> None:
    await world.start()
    await world.import_data()
    await world.apply_job(nodes=2)
    assert groups(world) == [group_name(world)]
    created = [reference.kind for reference in world.cluster.created]
    assert created.index("PodGroup") < created.index("Pod", created.index("PodGroup"))
    assert world.status()["reason"] == "QueuedByVolcano"

    world.run_pods()
    await world.settle()
    world.end_pod(
        world.pods()[0], outcome="Failed", exit_code=71, failure={"cause": "StorageFailed", "message": "gone"}
    )
    await world.pass_time(5)
    world.finish_deletions()
    await world.pass_time(60)
    assert groups(world) == [group_name(world, 1)]

    world.cluster.remove(JOB)
    await world.settle()
    assert groups(world) == []


async def test_finished_job_leaves_no_group_to_count_against_a_queue(world: World) -> None:
    await world.start()
    [pod] = await world.train()
    world.end_pod(pod, step=94, steps=94)
    await world.settle()

    assert (world.status()["phase"], groups(world)) == ("Succeeded", [])
    assert world.cluster.count("delete", "PodGroup") == 1


async def test_group_is_found_again_when_the_operator_dies_before_the_pods(world: World) -> None:
    await world.start()
    await world.import_data()
    world.cluster.fail_next("create", "Pod", *[UnavailableError("connection refused")] * 2)
    await world.apply_job(nodes=2)
    assert (len(groups(world)), world.pods()) == (1, [])

    await world.restart()

    assert (len(groups(world)), len(world.pods())) == (1, 2)


async def test_jobs_wait_while_the_kind_is_not_installed_and_start_once_it_is(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.cluster.fail_next("watch", "PodGroup", GONE, GONE)
    await world.start()
    await world.import_data()
    await world.apply_job()

    assert (world.status()["phase"], world.status()["reason"]) == ("Queued", "PodGroupsMissing")
    assert "CustomResourceDefinition podgroups.scheduling.volcano.sh is not installed" in world.status()["message"]
    assert (groups(world), world.pods()) == ([], [])
    assert find_unready(world.controller) == ""

    await world.pass_time(3)
    assert len([each for each in caplog.records if "jobs cannot start: gangs are handed over" in each.message]) == 1
    await world.pass_time(3)
    assert (len(groups(world)), len(world.pods())) == (1, 1)


async def test_job_is_told_when_the_kind_goes_between_two_attempts(world: World) -> None:
    await world.start()
    [pod] = await world.train()
    world.cluster.fail_next("create", "PodGroup", *[refuse("404 page not found", status=404)] * 9)
    world.end_pod(pod, outcome="Failed", exit_code=71, failure={"cause": "StorageFailed", "message": "gone"})
    await world.pass_time(5)
    world.finish_deletions()
    await world.pass_time(10)

    assert (world.status()["reason"], groups(world)) == ("PodGroupsMissing", [])


async def test_name_of_a_stranger_s_group_is_waited_for(world: World) -> None:
    await world.start()
    await world.import_data()
    await world.apply_job(runPolicy={"suspend": True})
    metadata = {"name": group_name(world), "namespace": NAMESPACE}
    stranger = refer(await world.cluster.create({"kind": "PodGroup", "metadata": metadata}))
    world.cluster.edit(JOB, lambda job: job["spec"]["runPolicy"].update(suspend=False))
    await world.pass_time(1)
    assert (world.status()["reason"], world.pods()) == ("NameTaken", [])

    world.cluster.remove(stranger)
    await world.pass_time(15)
    assert len(world.pods()) == 1


async def test_deleted_group_is_made_again_under_pods_that_run(world: World) -> None:
    await world.start()
    await world.train()
    world.cluster.remove(Reference(kind="PodGroup", namespace=NAMESPACE, name=group_name(world)))
    await world.settle()

    assert groups(world) == [group_name(world)]
    assert world.status()["phase"] == "Training"


@pytest.mark.parametrize(
    "settings",
    [
        {"pod_groups": "slurm"},
        {"pod_groups": "volcano", "queueing": "on"},
        {"pod_groups": "volcano", "queue_budget": "cpu=4"},
    ],
    ids=["unknown", "two-queues", "budget"],
)
def test_settings_that_make_no_sense_are_refused_at_the_start(settings: dict[str, Any]) -> None:
    cluster = FakeCluster()

    with pytest.raises(ValueError, match="OARLOCK_OPERATOR_POD_GROUPS"):
        Controller(cluster, Settings(**settings), cluster.clock)
