"""The operator is killed at every single request of a whole life of a job, before and after the server has done it, and
started again: the job ends as if nothing had happened, and nothing is counted or created twice."""

import itertools
from typing import Any

import pytest
from controlled_world import JOB, World, refer

from oarlock_operator import names
from oarlock_operator.reconcile.plans import Reference


class Killer:
    """Kills the operator at one request."""

    def __init__(self, world: World, *, at: int, after: bool) -> None:
        self.world, self.at, self.after = world, at, after
        self.seen = 0
        self.has_killed = False
        for verb in ("get", "create", "delete", "write_status", "write_finalizers"):
            setattr(world.cluster, verb, self._wrap(getattr(world.cluster, verb)))

    def _wrap(self, request: Any) -> Any:
        async def wrapped(*arguments: Any, **options: Any) -> Any:
            if self.world.is_playing:
                return await request(*arguments, **options)
            self.seen += 1
            is_now = self.seen == self.at
            if is_now and not self.after:
                await self._strike()
            answer = await request(*arguments, **options)
            if is_now and self.after:
                await self._strike()
            return answer

        return wrapped

    async def _strike(self) -> None:
        self.has_killed = True
        self.world.stop_now()
        await self.world.never()


async def live(world: World) -> None:
    """A job that is imported for, loses a pod, restarts, is suspended and resumed, and succeeds."""
    await world.play(world.import_data)
    await world.play(lambda: world.apply_job(nodes=2))
    world.run_pods()
    await world.revive()
    victim = world.pods()[1]
    world.end_pod(victim, outcome="Failed", exit_code=81, failure={"cause": "ProcessKilled", "message": "killed"})
    for _ in range(4):
        await world.revive()
        world.finish_deletions()
        await world.pass_time(40)
    await world.revive()
    world.run_pods()
    await world.revive()
    world.cluster.edit(JOB, lambda job: job["spec"].update(runPolicy={"suspend": True}))
    await world.revive()
    world.finish_deletions()
    await world.revive()
    world.cluster.edit(JOB, lambda job: job["spec"].update(runPolicy={"suspend": False}))
    await world.revive()
    world.run_pods()
    await world.revive()
    for pod in world.pods():
        world.end_pod(pod, step=94, steps=94)
    await world.revive()


def outcome(world: World) -> dict[str, Any]:
    status = world.status()
    pods = [reference for verb, reference in world.made if verb == "create" and reference.kind == "Pod"]
    return {
        "phase": status["phase"],
        "attempt": status["attempt"],
        "restarts": status["restarts"],
        "counted": status["countedRestarts"],
        "failures": [failure["attempt"] for failure in status["failures"]],
        "pods created": sorted(_rank_and_attempt(world, pod) for pod in pods),
    }


def _rank_and_attempt(world: World, pod: Reference) -> str:
    return "-".join(pod.name.split("-")[-2:])


async def run(*, at: int, after: bool) -> tuple[dict[str, Any], Killer]:
    world = World()
    await world.add_node()
    killer = Killer(world, at=at, after=after)
    await world.start()
    try:
        await live(world)
        return outcome(world), killer
    finally:
        await world.kill()


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_job_ends_the_same_when_the_operator_is_killed_at_any_request(after: bool) -> None:  # noqa: FBT001
    undisturbed, _ = await run(at=0, after=after)
    assert undisturbed["phase"] == "Succeeded"
    assert undisturbed["attempt"] == 2

    for at in itertools.count(1):
        disturbed, killer = await run(at=at, after=after)
        assert disturbed == undisturbed, f"killed at request {at}"
        if not killer.has_killed:
            break
    assert at > 40
