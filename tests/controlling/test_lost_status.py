"""Jobs whose past is gone: deleted and applied again, restored from a backup, or with a status that somebody removed."""

from typing import Any

from controlled_world import JOB, World

from oarlock_operator import names


def said(world: World) -> list[str]:
    return [note.message for reference, note in world.cluster.notes if reference == JOB]


def lose_status(job: dict[str, Any]) -> None:
    job.pop("status")


async def test_new_run_says_that_there_was_another_when_a_job_is_deleted_and_applied_again(world: World) -> None:
    old = (await world.train(nodes=2))[0]
    await world.pass_time(60)
    world.cluster.remove(JOB)
    await world.apply_job(nodes=2)
    world.finish_deletions()
    await world.settle()

    status, pods = world.status(), world.pods()

    assert status["attempt"] == 0
    assert {pod["metadata"]["labels"][names.RANK_LABEL] for pod in pods} == {"0", "1"}
    assert old["metadata"]["name"] not in {pod["metadata"]["name"] for pod in pods}
    assert "This is a new run from the beginning: claim lenet-checkpoints" in status["message"]
    assert any("was left by an earlier job of this name" in message for message in said(world))


async def test_new_run_starts_beside_the_zombie_of_the_one_before_when_its_node_is_lost(world: World) -> None:
    """As after a restore from a backup: another UID, no status, and a pod of the old UID that nobody ends."""
    await world.train()
    await world.pass_time(60)
    world.cluster.remove(JOB)
    await world.apply_job()

    zombie, fresh = sorted(world.pods(), key=lambda pod: "deletionTimestamp" not in pod["metadata"])

    assert "deletionTimestamp" in zombie["metadata"]
    assert fresh["metadata"]["ownerReferences"][0]["uid"] == world.cluster.objects[JOB]["metadata"]["uid"]
    assert f"pod {zombie['metadata']['name']}" in world.status()["message"]
    assert world.status()["phase"] == "Starting"


async def test_first_run_says_nothing_of_earlier_ones(world: World) -> None:
    await world.train(nodes=2)

    assert not any("earlier" in message or "lost" in message for message in said(world))


async def test_training_goes_on_and_says_so_when_the_status_is_lost(world: World) -> None:
    pods = await world.train(nodes=2)
    run = world.status()["run"]

    world.cluster.edit(JOB, lose_status)
    await world.settle()

    status = world.status()
    assert [pod["metadata"]["uid"] for pod in world.pods()] == [pod["metadata"]["uid"] for pod in pods]
    assert (status["run"]["hash"], status["attempt"]) == (run["hash"], 0)
    assert status["phase"] == "Training"


async def test_training_goes_on_when_the_status_is_lost_after_the_spec_was_edited(world: World) -> None:
    """Its generation is another one then, and the run that it resolves to is not."""
    [pod] = await world.train()
    world.cluster.edit(JOB, lambda job: job["spec"].update(runPolicy={"backoffLimit": 9}))
    await world.settle()

    world.cluster.edit(JOB, lose_status)
    await world.settle()

    status = world.status()
    assert (status["phase"], status["attempt"], status["run"]["generation"]) == ("Training", 0, 2)
    assert [each["metadata"]["uid"] for each in world.pods()] == [pod["metadata"]["uid"]]


async def test_attempt_goes_on_where_it_was_when_the_status_of_a_restarted_job_is_lost(world: World) -> None:
    pods = await world.train()
    failure = {"cause": "UserError", "message": "KeyError"}
    world.end_pod(pods[0], outcome="Failed", exit_code=70, failure=failure)
    await world.pass_time(40)
    world.finish_deletions()
    await world.pass_time(40)
    [second] = world.pods()

    world.cluster.edit(JOB, lose_status)
    await world.settle()

    assert world.status()["attempt"] == 1
    assert [pod["metadata"]["uid"] for pod in world.pods()] == [second["metadata"]["uid"]]
    assert any("status of this job was lost" in message for message in said(world))


async def test_pods_are_removed_when_the_status_of_a_suspended_job_is_lost(world: World) -> None:
    await world.train()

    def lose_and_suspend(job: dict[str, Any]) -> None:
        lose_status(job)
        job["spec"].update(runPolicy={"suspend": True})

    world.cluster.edit(JOB, lose_and_suspend)
    await world.settle()
    world.finish_deletions()
    await world.settle()

    assert world.pods() == []
    assert world.status()["phase"] == "Suspended"


async def test_elastic_job_begins_a_new_attempt_when_its_status_is_lost(world: World) -> None:
    """Its pods may be fewer than it was frozen with, and some of them scouts: only the status could tell."""
    workers = {"nodes": 2, "elastic": {"minNodes": 1, "maxNodes": 2}, "gpusPerNode": 0, "processesPerNode": 1}
    await world.train(nodes=2, workers=workers)

    world.cluster.edit(JOB, lose_status)
    await world.settle()

    assert world.status()["attempt"] == 1
