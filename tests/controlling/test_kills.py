"""Two operators are killed at random await points, 200 times, and one of them is always started again.

They share a Lease. Whenever the world is looked at, no two live pods have one rank of one attempt, no pod was created twice,
and no restart is counted that was none.
"""

import asyncio
import contextlib
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pytest
from controlled_world import World
from controlling.mortal_cluster import MortalCluster
from controlling.test_crashes import describe, live
from fake_cluster import settle
from fake_lease import FakeLine, FakeServer

from oarlock_operator import names
from oarlock_operator.controller import Controller
from oarlock_operator.leading_campaign import Campaign
from oarlock_operator.metrics import Metrics

KILLS = 200
LIVES = 20
"""Each with the same number of kills."""
_LONGEST_LIFE = 12
"""Requests after which an operator dies at the latest, while there are kills left."""
_CHILDREN = 1 + 1 + 1 + 1 + 3 * 2
"""Import pod, two claims, Service, and two pods for each of three attempts."""


@dataclass(eq=False)
class Replica:
    """One operator: a controller with its claim to lead, and the request at which it dies."""

    world: "RepeatedlyKilledWorld"
    number: int
    dies_at: int
    is_after: bool
    is_dying: bool = False
    controller: Controller = field(init=False)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def start(self) -> None:
        world = self.world
        line, clock = FakeLine(world.server), world.cluster.clock
        campaign = Campaign(line, me=f"operator-{self.number}", clock=clock, metrics=Metrics())
        self.controller = Controller(
            MortalCluster(world.cluster, dies_at=self.dies_at, after=self.is_after, die=self._die, most_delay=2),
            world.settings,
            clock,
            watch_custom_resources=True,
            leadership=campaign,
        )
        campaign.tell(gained=self.controller.take_over, lost=self.controller.step_down)
        works = (self.controller.run(), campaign.run(), campaign.watch())
        self.tasks = [asyncio.create_task(work) for work in works]

    async def kill(self) -> None:
        for task in self.tasks:
            task.cancel()
        for task in self.tasks:
            with contextlib.suppress(asyncio.CancelledError, ExceptionGroup):
                await task

    def _die(self) -> None:
        self.is_dying = True


class RepeatedlyKilledWorld(World):
    """There are always two operators."""

    def __init__(self, seed: int, *, kills: int) -> None:
        super().__init__()
        self.server, self.chance = FakeServer(), random.Random(seed)
        self.kills_left = kills
        self.killed = 0
        self.replicas: list[Replica] = []
        self._numbers = iter(range(10**6))

    async def start(self) -> None:
        for _ in range(2):
            self._start_one()
        await self.settle()

    def _start_one(self) -> None:
        lives = self.chance.randint(1, _LONGEST_LIFE) if self.kills_left else 0
        replica = Replica(self, next(self._numbers), dies_at=lives, is_after=self.chance.random() < 0.6)
        self.replicas.append(replica)
        replica.start()

    async def settle(self) -> None:
        """Let everybody do what there is to do, and replace the dead, until a living leader has nothing left to do."""
        for _ in range(40):
            await settle(120)
            self.check()
            if not await self._bury() and self._is_idle():
                return
            # Whoever waits for a Lease, or for its turn after a conflict, needs time to pass.
            await self.cluster.clock.advance(2)
        raise AssertionError("the operators do not come to rest")

    async def _bury(self) -> bool:
        dead = [replica for replica in self.replicas if replica.is_dying]
        for replica in dead:
            await replica.kill()
            self.replicas.remove(replica)
            self.killed += 1
            self.kills_left = max(0, self.kills_left - 1)
            self._start_one()
        return bool(dead)

    def _is_idle(self) -> bool:
        holder = self.server.lease.holder if self.server.lease else ""
        leaders = [replica for replica in self.replicas if holder == f"operator-{replica.number}"]
        return bool(leaders) and all(replica.controller.queue.is_idle for replica in leaders)

    def check(self) -> None:
        living = Counter(
            (pod["metadata"]["labels"][names.ROLE_LABEL], pod["metadata"]["labels"].get(names.RANK_LABEL))
            for pod in self.cluster.find("Pod")
            if "deletionTimestamp" not in pod["metadata"] and pod["status"]["phase"] in {"Pending", "Running"}
        )
        assert all(count == 1 for count in living.values()), living
        created = Counter(each for each in self.cluster.created if each.kind == "Pod")
        assert all(count == 1 for count in created.values()), created

    async def kill(self) -> None:
        for replica in self.replicas:
            await replica.kill()


async def run(seed: int, *, kills: int) -> tuple[dict[str, Any], int]:
    world = RepeatedlyKilledWorld(seed, kills=kills)
    await world.add_node()
    await world.start()
    try:
        await live(world)
        await world.settle()
        return describe(world), world.killed
    finally:
        await world.kill()


@pytest.mark.parametrize("seed", range(LIVES))
async def test_job_ends_the_same_when_operators_are_killed_again_and_again(seed: int) -> None:
    undisturbed = {
        "phase": "Succeeded",
        "attempt": 2,
        "restarts": {"UserError": 1},
        "counted": 1,
        "failures": [0],
    }

    disturbed, killed = await run(seed, kills=KILLS // LIVES)

    assert {name: disturbed[name] for name in undisturbed} == undisturbed
    assert len(disturbed["created"]) == len(set(disturbed["created"])) == _CHILDREN
    assert killed >= KILLS // LIVES
