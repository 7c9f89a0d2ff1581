"""The queue at work: one controller, and a cluster in memory with a few GPUs."""

from collections.abc import Iterator
from typing import Any

import pytest
from controlled_world import DATASET, NAMESPACE, World, refer

from oarlock_operator import names
from oarlock_operator.cluster.port import RefusedError, UnavailableError
from oarlock_operator.reconcile.plans import Reference
from oarlock_operator.settings import Settings

GPU = "nvidia.com/gpu"
GPUS = {"nodes": 1, "gpusPerNode": 4}
KUEUE = {"queue": "team-a"}


async def add_gpu_node(world: World, name: str = "node-1", gpus: int = 4) -> None:
    ready = {"type": "Ready", "status": "True"}
    status = {"conditions": [ready], "allocatable": {GPU: str(gpus)}}
    await world.cluster.create({"kind": "Node", "metadata": {"name": name}, "status": status})


async def add_foreign_pod(world: World, gpus: int) -> Reference:
    container = {"name": "main", "resources": {"limits": {GPU: str(gpus)}}}
    metadata = {"name": "stranger", "namespace": "elsewhere"}
    spec = {"nodeName": "node-1", "containers": [container]}
    return refer(await world.cluster.create({"kind": "Pod", "metadata": metadata, "spec": spec}))


async def let_decide(world: World, seconds: float = 2) -> None:
    """Let the queue learn of what has happened, and decide."""
    await world.settle()
    await world.pass_time(seconds)


async def apply(world: World, name: str, *, priority: int = 0, **spec: Any) -> Reference:
    policy = {"runPolicy": {"priority": priority, "gracePeriodSeconds": 30}}
    job = await world.apply_job(name=name, **{"workers": GPUS, **policy, **spec})
    await let_decide(world, 1)
    return job


def phase(world: World, job: Reference) -> str:
    return str(world.status(job)["phase"])


@pytest.fixture
async def gpu_world() -> Any:
    world = World()
    await add_gpu_node(world)
    await world.start()
    await world.import_data()
    yield world
    await world.kill()


async def finish(world: World) -> None:
    """End the only pod that runs."""
    [pod] = world.pods()
    world.end_pod(pod, step=94, steps=94)
    await let_decide(world, 1)
    world.cluster.finish_pod(refer(pod))
    await let_decide(world, 2)


async def test_second_job_starts_when_the_first_ends(gpu_world: World) -> None:
    first, second = await apply(gpu_world, "first"), await apply(gpu_world, "second")
    gpu_world.run_pods()
    await let_decide(gpu_world, 1)

    assert [pod["metadata"]["labels"]["oarlock.dev/job"] for pod in gpu_world.pods()] == ["first"]
    assert phase(gpu_world, second) == "Queued"
    assert gpu_world.status(second)["queue"]["position"] == 1

    await finish(gpu_world)
    assert phase(gpu_world, first) == "Succeeded"
    assert [pod["metadata"]["labels"]["oarlock.dev/job"] for pod in gpu_world.pods()] == ["second"]


async def test_place_is_kept_whenever_the_operator_dies(gpu_world: World) -> None:
    await apply(gpu_world, "first")
    gpu_world.cluster.fail_next("create", "Pod", UnavailableError("gone"))
    await gpu_world.restart()
    second = await apply(gpu_world, "second", priority=0)

    assert phase(gpu_world, second) == "Queued"
    assert len(gpu_world.pods()) == 1


async def test_place_whose_pods_are_not_there_yet_is_nobody_elses_for_a_new_operator(gpu_world: World) -> None:
    gpu_world.cluster.fail_next("create", "Pod", *[UnavailableError("gone")] * 3)
    await apply(gpu_world, "first")
    assert gpu_world.pods() == []
    await gpu_world.kill()
    await gpu_world.start()
    other = await apply(gpu_world, "other")

    assert [pod["metadata"]["labels"]["oarlock.dev/job"] for pod in gpu_world.pods()] == ["first"]
    assert phase(gpu_world, other) == "Queued"


async def test_higher_priority_gets_the_place_once_the_lower_job_has_checkpointed(gpu_world: World) -> None:
    low = await apply(gpu_world, "low")
    gpu_world.run_pods()
    await let_decide(gpu_world, 1)
    high = await apply(gpu_world, "high", priority=5)

    [pod] = gpu_world.pods()
    assert "deletionTimestamp" in pod["metadata"]
    assert (phase(gpu_world, low), gpu_world.status(low)["reason"]) == ("Queued", "Preempted")
    assert gpu_world.status(high)["reason"] == "PlaceBeingFreed"

    gpu_world.finish_deletions()
    await let_decide(gpu_world, 2)
    assert [pod["metadata"]["labels"]["oarlock.dev/job"] for pod in gpu_world.pods()] == ["high"]
    assert phase(gpu_world, low) == "Queued"
    assert gpu_world.status(low).get("restartCount", 0) == 0


async def test_nobody_is_preempted_for_a_job_that_is_gone(gpu_world: World) -> None:
    low = await apply(gpu_world, "low")
    gpu_world.run_pods()
    await let_decide(gpu_world, 1)
    gpu_world.cluster.hold_events("TrainingJob")
    high = await gpu_world.apply_job(name="high", workers=GPUS, runPolicy={"priority": 5})
    gpu_world.cluster.release_events()
    await gpu_world.settle()
    gpu_world.cluster.hold_events("TrainingJob")
    gpu_world.cluster.remove(high)
    await let_decide(gpu_world, 2)

    assert phase(gpu_world, low) != "Queued"
    assert "deletionTimestamp" not in gpu_world.pods()[0]["metadata"]


async def test_gpus_of_foreign_pods_are_not_given_out(gpu_world: World) -> None:
    stranger = await add_foreign_pod(gpu_world, 1)
    job = await apply(gpu_world, "job")

    assert phase(gpu_world, job) == "Queued"
    assert "3 free on 1 node" in gpu_world.status(job)["message"]

    gpu_world.cluster.finish_pod(stranger)
    await let_decide(gpu_world, 65)
    assert len(gpu_world.pods()) == 1


async def test_queue_goes_on_when_pods_of_others_may_not_be_read(gpu_world: World) -> None:
    gpu_world.cluster.fail_next("list", "Pod", RefusedError("forbidden", status=403))
    await apply(gpu_world, "job")

    assert len(gpu_world.pods()) == 1


async def test_queue_goes_on_when_the_cluster_is_away_for_a_moment(gpu_world: World) -> None:
    gpu_world.cluster.fail_next("list", "Pod", UnavailableError("away"))
    await apply(gpu_world, "job")
    await let_decide(gpu_world, 3)

    assert len(gpu_world.pods()) == 1


async def test_job_starts_when_a_node_comes(gpu_world: World) -> None:
    job = await apply(gpu_world, "job", workers={"nodes": 1, "gpusPerNode": 8})
    assert gpu_world.status(job)["reason"] == "NoSuchNodes"

    await add_gpu_node(gpu_world, "large", 8)
    await let_decide(gpu_world, 2)
    assert len(gpu_world.pods()) == 1


@pytest.mark.parametrize("ends", [True, False])
async def test_pods_that_a_finished_job_keeps_take_room_only_while_they_run(gpu_world: World, ends: bool) -> None:  # noqa: FBT001
    policy = {"cleanPodPolicy": "None", "successPolicy": "FirstNode"}
    workers, checkpoints = {"nodes": 2, "gpusPerNode": 2}, {"volume": {"size": "1Gi", "accessModes": ["ReadWriteMany"]}}
    first = await apply(gpu_world, "first", workers=workers, checkpoints=checkpoints, runPolicy=policy)
    gpu_world.run_pods()
    for pod in gpu_world.pods()[: 2 if ends else 1]:
        gpu_world.end_pod(pod, step=94, steps=94)
    await let_decide(gpu_world, 1)
    second = await apply(gpu_world, "second")

    assert (phase(gpu_world, first), len(gpu_world.pods())) == ("Succeeded", 3 if ends else 2)
    reason = gpu_world.status(second)["reason"]
    assert reason != "PlaceBeingFreed"
    assert (reason == "WaitingForCapacity") == (not ends), "the pod that still runs is not ending: nobody deletes it"


async def test_suspended_job_leaves_its_place_to_the_next(gpu_world: World) -> None:
    first = await apply(gpu_world, "first")
    await apply(gpu_world, "second")
    gpu_world.cluster.edit(first, lambda job: job["spec"]["runPolicy"].update(suspend=True))
    await let_decide(gpu_world, 2)

    assert [pod["metadata"]["labels"]["oarlock.dev/job"] for pod in gpu_world.pods()] == ["second"]


async def test_resumed_job_waits_for_its_turn_when_its_place_was_given_away(gpu_world: World) -> None:
    first = await apply(gpu_world, "first")
    gpu_world.cluster.edit(first, lambda job: job["spec"]["runPolicy"].update(suspend=True))
    await let_decide(gpu_world, 2)
    gpu_world.finish_deletions()
    await apply(gpu_world, "second")
    gpu_world.cluster.edit(first, lambda job: job["spec"]["runPolicy"].update(suspend=False))
    await let_decide(gpu_world, 2)

    assert phase(gpu_world, first) == "Queued"
    assert [pod["metadata"]["labels"]["oarlock.dev/job"] for pod in gpu_world.pods()] == ["second"]


async def test_job_is_handed_to_kueue_when_it_is_there(gpu_world: World) -> None:
    gpu_world.cluster.groups.add("kueue.x-k8s.io")
    first = await gpu_world.apply_job(name="first", runPolicy=KUEUE)
    assert len(gpu_world.pods()) == 1

    condition = next(each for each in gpu_world.status(first)["conditions"] if each["type"] == "Admitted")
    assert condition["reason"] == "QueuedByKueue"


async def test_job_that_names_a_queue_starts_once_kueue_is_installed(gpu_world: World) -> None:
    job = await gpu_world.apply_job(name="first", runPolicy=KUEUE)
    assert gpu_world.status(job)["reason"] == "KueueMissing"

    gpu_world.cluster.groups.add("kueue.x-k8s.io")
    await let_decide(gpu_world, 61)
    assert len(gpu_world.pods()) == 1


@pytest.fixture
def no_nodes() -> Iterator[World]:
    world = World()
    world.cluster.fail_next("watch", "Node", RefusedError("forbidden", status=403))
    yield world
    world.stop()


async def test_queue_is_off_and_says_so_when_nodes_may_not_be_read(no_nodes: World) -> None:
    await no_nodes.start()
    await no_nodes.import_data()
    job = await apply(no_nodes, "job")

    condition = next(each for each in no_nodes.status(job)["conditions"] if each["type"] == "Admitted")
    assert (condition["status"], condition["reason"]) == ("True", "QueueOff")
    assert len(no_nodes.pods()) == 1


async def test_budget_is_kept_where_nodes_cannot_be_seen() -> None:
    world = World(Settings(namespace=NAMESPACE, queue_budget="nvidia.com/gpu=6"))
    await world.add_node()
    await world.start()
    await world.import_data()
    await apply(world, "first")
    second = await apply(world, "second")

    assert len(world.pods()) == 1
    assert "2 of 6 free in the budget" in world.status(second)["message"]
    affinity = world.pods()[0]["spec"].get("affinity", {})
    assert "nodeAffinity" not in affinity, "a budget names no node"
    await world.kill()


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (Settings(queueing="maybe"), "must be auto, on or off, got 'maybe'"),
        (Settings(queue_budget="many"), "RESOURCE=AMOUNT"),
    ],
)
async def test_setting_that_makes_no_sense_is_refused(settings: Settings, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        await World(settings).start()


async def test_cores_of_pods_that_still_end_are_not_given_away() -> None:
    world = World(Settings(namespace=NAMESPACE, queue_budget="cpu=4"))
    await world.add_node()
    await world.start()
    await world.import_data()
    workers = {"nodes": 1, "gpusPerNode": 0, "resources": {"cpu": 3}}
    first = await apply(world, "first", workers=workers)
    world.run_pods()
    await let_decide(world)
    second = await apply(world, "second", workers=workers)
    world.cluster.edit(first, lambda job: job["spec"]["runPolicy"].update(suspend=True))
    await let_decide(world)
    [pod] = world.pods()
    assert "deletionTimestamp" in pod["metadata"]
    assert world.status(second)["reason"] == "PlaceBeingFreed"

    world.finish_deletions()
    await let_decide(world)
    assert [pod["metadata"]["labels"]["oarlock.dev/job"] for pod in world.pods()] == ["second"]
    await world.kill()


async def test_cores_of_imports_are_no_part_of_what_jobs_may_have() -> None:
    world = World(Settings(namespace=NAMESPACE, queue_budget="cpu=1"))
    await world.add_node()
    await world.start()
    await world.import_data()
    digits = world.cluster.objects[DATASET]
    await world.cluster.create({**digits, "metadata": {"name": "other", "namespace": NAMESPACE}})
    await world.settle()
    world.run_pods(names.IMPORT_ROLE)
    assert [pod["status"]["phase"] for pod in world.pods(names.IMPORT_ROLE)].count("Running") == 1
    await apply(world, "job", workers={"nodes": 1, "gpusPerNode": 0, "resources": {"cpu": 1}})

    assert len(world.pods()) == 1
    await world.kill()


async def look_for_room(*, gpus: int) -> tuple[World, Reference]:
    """Let a job that trains on one node of two GPUs look for room for three more, within a budget."""
    world = World(Settings(namespace=NAMESPACE, queue_budget=f"nvidia.com/gpu={gpus}"))
    await world.add_node()
    await world.start()
    await world.import_data()
    workers = {"nodes": 1, "gpusPerNode": 2, "elastic": {"minNodes": 1, "maxNodes": 4}}
    shared = {"volume": {"size": "1Gi", "accessModes": ["ReadWriteMany"]}}
    job = await apply(world, "job", workers=workers, checkpoints=shared)
    world.run_pods()
    world.answer(world.pods()[0], step=10)
    await let_decide(world)
    world.cluster.edit(job, lambda each: each["spec"]["workers"].update(nodes=4))
    await let_decide(world)
    return world, job


async def test_elastic_job_grows_no_further_than_the_budget() -> None:
    world, job = await look_for_room(gpus=6)
    assert len(world.pods(names.SCOUT_ROLE)) == 2

    world.run_pods(names.SCOUT_ROLE)
    await let_decide(world)
    world.finish_deletions()
    await let_decide(world)
    assert (world.status(job)["gang"]["nodes"], world.status(job)["gang"]["wanted"]) == (3, 4)
    await world.kill()


async def test_room_that_pods_of_an_elastic_job_hold_in_a_budget_is_given_away_when_they_are_gone() -> None:
    world, _ = await look_for_room(gpus=8)
    for scout in world.pods(names.SCOUT_ROLE)[:2]:
        world.cluster.edit(refer(scout), lambda each: each["spec"].update(nodeName="node-1"))
    other = await apply(world, "other")
    assert phase(world, other) == "Queued"

    await let_decide(world)
    world.finish_deletions()
    await let_decide(world)
    assert phase(world, other) == "Starting"
    assert len(world.pods(names.SCOUT_ROLE)) == 1, "2 GPUs are left"
    await world.kill()
