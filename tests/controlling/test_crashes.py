"""The operator is killed at every single request of a job's life, before or after the server has done it, and started again.

The job ends as if nothing had happened; nothing is counted or created twice.
"""

import itertools
import re
from typing import Any

from controlled_world import JOB, World
from controlling.mortal_cluster import MortalCluster

from oarlock_operator.settings import Settings


class MortalWorld(World):
    """The operator dies at one of its requests, or of those about one kind, and is started again by the next look at it."""

    def __init__(self, *, dies_at: int, after: bool, kind: str = "", settings: Settings | None = None) -> None:
        super().__init__(settings)
        self.has_died = False
        self.operator_cluster = MortalCluster(self.cluster, dies_at=dies_at, after=after, kind=kind, die=self._die)

    async def settle(self) -> None:
        await super().settle()
        if self.is_dead:
            await self.restart()

    def _die(self) -> None:
        self.has_died = True
        self.stop()


async def live(world: World) -> None:
    """Import, train on two nodes, lose a pod, restart, be suspended and resumed, succeed."""
    await world.import_data()
    await world.apply_job(nodes=2)
    await _run(world)
    failure = {"cause": "UserError", "message": "KeyError"}
    world.end_pod(world.pods()[1], outcome="Failed", exit_code=70, failure=failure)
    for _ in range(4):
        await world.pass_time(40)
        world.finish_deletions()
    await world.pass_time(40)
    await _run(world)
    world.cluster.edit(JOB, lambda job: job["spec"].update(runPolicy={"suspend": True}))
    await world.pass_time(5)
    world.finish_deletions()
    await world.pass_time(5)
    assert world.status()["reason"] == "Suspended"
    world.cluster.edit(JOB, lambda job: job["spec"].update(runPolicy={"suspend": False}))
    await world.pass_time(5)
    await _run(world)
    for pod in world.pods():
        world.end_pod(pod, step=94, steps=94)
    await world.pass_time(5)


async def _run(world: World) -> None:
    world.run_pods()
    world.answer(world.pods()[0], step=10)
    await world.pass_time(5)


def describe(world: World) -> dict[str, Any]:
    status = world.status()
    created = [
        each for each in world.cluster.created if each.kind in {"Pod", "Service", "PersistentVolumeClaim", "PodGroup"}
    ]
    return {
        "phase": status["phase"],
        "attempt": status["attempt"],
        "restarts": status["restarts"],
        "counted": status["countedRestarts"],
        "failures": [failure["attempt"] for failure in status["failures"]],
        "created": sorted(re.sub("-[0-9a-f]{8}", "", f"{each.kind} {each.name}") for each in created),
        "left": len(world.pods()) + len(world.cluster.find("PodGroup")),
    }


async def run(*, dies_at: int, after: bool, **options: Any) -> tuple[dict[str, Any], bool]:
    world = MortalWorld(dies_at=dies_at, after=after, **options)
    await world.add_node()
    await world.start()
    try:
        await live(world)
        return describe(world), world.has_died
    finally:
        await world.kill()


async def test_job_ends_the_same_when_the_operator_is_killed_at_any_request() -> None:
    """What was asked for is done as a rule; every third time the operator dies before."""
    undisturbed, _ = await run(dies_at=0, after=True)
    assert (undisturbed["phase"], undisturbed["attempt"], undisturbed["counted"]) == ("Succeeded", 2, 1)

    for dies_at in itertools.count(1):
        disturbed, has_died = await run(dies_at=dies_at, after=dies_at % 3 != 0)
        if not has_died:
            break
        assert disturbed == undisturbed, f"killed at request {dies_at}"
    assert dies_at > 40


async def test_gang_has_one_group_for_each_attempt_when_the_operator_is_killed_at_any_request_about_them() -> None:
    handing_over = {"kind": "PodGroup", "settings": Settings(pod_groups="volcano")}
    undisturbed, _ = await run(dies_at=0, after=True, **handing_over)
    assert [each for each in undisturbed["created"] if "PodGroup" in each] == [f"PodGroup lenet-{n}" for n in range(3)]

    for dies_at in itertools.count(1):
        disturbed, has_died = await run(dies_at=dies_at, after=dies_at % 3 != 0, **handing_over)
        if not has_died:
            break
        assert disturbed == undisturbed, f"killed at request {dies_at} about PodGroups"
    assert dies_at > 6
