import itertools
from typing import Any

import pytest
from controlled_world import JOB, World, checkpoint

from oarlock_operator.metrics import Metrics
from oarlock_operator.settings import Settings


def count_writes(world: World) -> int:
    return world.cluster.count("write_status", "TrainingJob")


async def test_phase_changes_at_once_when_the_trainer_says_so(world: World) -> None:
    await world.import_data()
    await world.apply_job()
    world.run_pods()
    world.answer(world.pods()[0], phase="Starting")
    await world.settle()
    assert world.status()["phase"] == "Starting"

    world.answer(world.pods()[0], step=1)
    await world.pass_time(world.settings.progress_min_seconds + 1)

    assert world.status()["phase"] == "Training"


async def test_mere_progress_is_written_seldom(world: World) -> None:
    pods = await world.train()
    before = count_writes(world)

    for step in range(20, 140):
        world.answer(pods[0], step=step, position=step * 64)
        await world.pass_time(1)

    writes = count_writes(world) - before
    assert 3 <= writes <= 120 / world.settings.progress_write_seconds + 1
    assert world.status()["progress"]["step"] > 100


async def test_trainer_is_asked_less_often_when_nothing_changes(world: World) -> None:
    pulls: list[float] = []

    class Counter(Metrics):
        def count_pull(self, *, result: str) -> None:  # noqa: ARG002
            pulls.append(world.cluster.clock.now())

    world.controller._progress._metrics = Counter()
    await world.train()
    await world.pass_time(600)

    pauses = [later - earlier for earlier, later in itertools.pairwise(pulls)]
    assert pauses[0] <= world.settings.progress_min_seconds * 1.5
    assert pauses[-1] == pytest.approx(world.settings.progress_max_seconds)
    assert pauses == sorted(pauses)


async def test_progress_is_unknown_but_nothing_else_changes_when_the_trainer_falls_silent(world: World) -> None:
    pods = await world.train()
    world.cluster.answers.clear()
    await world.pass_time(300)

    assert world.status()["phase"] == "Training"
    assert world.status()["attempt"] == 0
    known = {each["type"]: each["status"] for each in world.status()["conditions"]}
    assert known["ProgressKnown"] in {"False", "Unknown"}

    world.answer(pods[0], step=80)
    await world.pass_time(61)
    known = {each["type"]: each["status"] for each in world.status()["conditions"]}
    assert known["ProgressKnown"] == "True"


HOSTILE: dict[str, Any] = {
    "of another run": {"run_hash": "other"},
    "of another attempt": {"attempt": 9},
    "of another job": {"job_uid": "other"},
}


@pytest.mark.parametrize("lie", HOSTILE.values(), ids=HOSTILE)
async def test_answer_counts_as_none_when_it_is_not_of_this_run(
    world: World, lie: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    pods = await world.train()
    world.answer(pods[0], step=99, **lie)
    await world.pass_time(60)

    assert world.status()["progress"]["step"] == 10
    assert caplog.text.count("it is of another run") == 1


async def test_nothing_breaks_when_the_answer_is_garbage(world: World) -> None:
    pods = await world.train()
    for garbage in (b"", b"[" * 60_000, b"\xff\xfe", b'{"step": NaN}', b"null"):
        world.cluster.answers[pods[0]["metadata"]["name"]] = garbage
        await world.pass_time(60)

    assert world.status()["phase"] == "Training"
    assert world.status()["progress"]["step"] == 10


async def test_checkpoint_is_kept_when_its_pod_is_lost(world: World) -> None:
    pods = await world.train()
    world.answer(pods[0], step=60, checkpoint_latest=checkpoint(50))
    await world.pass_time(40)
    world.end_pod(pods[0], outcome="Failed", exit_code=137)
    await world.pass_time(60)

    assert world.status()["attempt"] == 1
    assert world.status()["checkpoint"]["latest"]["step"] == 50


async def test_progress_of_many_jobs_is_written_at_a_bounded_rate() -> None:
    world = World(Settings(status_writes_per_second=1, progress_write_seconds=1))
    await world.add_node()
    await world.start()
    await world.import_data()
    jobs = [await world.apply_job(name=f"job-{number}") for number in range(8)]
    world.run_pods()
    await world.settle()
    for pod in world.pods():
        world.answer(pod, step=10)
    await world.pass_time(10)
    before = count_writes(world)

    for step in range(20, 40):
        for pod in world.pods():
            world.answer(pod, step=step, position=step)
        await world.pass_time(1)

    assert count_writes(world) - before <= 20 + 2
    assert all(world.status(job)["phase"] == "Training" for job in jobs)
    await world.kill()


async def test_nobody_is_asked_any_more_when_the_job_is_gone(world: World) -> None:
    await world.train()
    world.cluster.remove(JOB)
    world.finish_deletions()
    await world.settle()

    assert world.controller._progress.report(JOB) is None
