"""Time: the API server's counts for deadlines, our own monotonic one for everything that begins and ends here."""

import asyncio
from email.utils import formatdate

import pytest
from controlled_world import World
from fake_cluster import FakeClock, settle

from oarlock_operator.clock import ServerClock
from oarlock_operator.keyed_queue import KeyedQueue
from oarlock_operator.reconcile.plans import Reference
from oarlock_operator.settings import Settings
from oarlock_operator.write_budget import WriteBudget

HOUR = 3600.0
KEY = Reference(kind="TrainingJob", namespace="team", name="lenet")


class Clock(ServerClock):
    """A server's clock whose own machine is set by hand."""

    elapsed = 0.0

    def monotonic(self) -> float:
        return self.elapsed


def tell(clock: ServerClock, seconds: float, *, times: int = 1) -> None:
    for _ in range(times):
        clock.note(formatdate(seconds, usegmt=True))


def test_time_is_the_servers_whatever_our_own_clock_says() -> None:
    clock = Clock()
    tell(clock, 1_000_000)
    clock.elapsed += 90

    assert clock.now() == pytest.approx(1_000_090, abs=1)


def test_time_does_not_wander_with_seconds_that_are_cut_off() -> None:
    clock = Clock()
    tell(clock, 1_000_000)
    first = clock.now()
    for second in range(100):
        clock.elapsed = second + 0.9
        tell(clock, 1_000_000 + second)

    assert clock.now() - clock.monotonic() == pytest.approx(first, abs=1e-3)


def test_one_server_of_three_is_not_believed_when_its_clock_is_wrong() -> None:
    clock = Clock()
    for _ in range(10):
        tell(clock, 1_000_000, times=2)
        tell(clock, 1_000_000 + HOUR)

    assert clock.now() == pytest.approx(1_000_000, abs=2)


def test_time_follows_the_server_when_it_was_set_right() -> None:
    clock = Clock()
    tell(clock, 1_000_000, times=20)
    tell(clock, 1_000_000 - HOUR, times=6)

    assert clock.now() == pytest.approx(1_000_000 - HOUR, abs=2)


@pytest.mark.parametrize("nonsense", [None, "", "soon", "Thu, 99 Foo 2023 25:61:61 GMT", "0"])
def test_nonsense_is_passed_over(nonsense: str | None) -> None:
    clock = Clock()
    tell(clock, 1_000_000)
    clock.note(nonsense)

    assert clock.now() == pytest.approx(1_000_000, abs=1)


@pytest.mark.parametrize("jump", [HOUR, -HOUR])
async def test_failed_key_waits_its_delay_and_no_longer_when_the_clock_is_set(jump: float) -> None:
    clock = FakeClock()
    queue: KeyedQueue[str] = KeyedQueue(clock=clock, jitter=lambda: 0.5)
    delay = queue.punish("a")
    clock.jump(jump)

    queue.add("a")
    assert len(queue) == 0
    await clock.advance(delay + 0.01)
    queue.add("a")
    assert len(queue) == 1


async def test_timers_are_due_soon_when_the_clock_was_set_back() -> None:
    clock = FakeClock()
    queue: KeyedQueue[str] = KeyedQueue(clock=clock)
    timers = asyncio.create_task(queue.run_timers())
    queue.add_at("a", clock.now() + 60)
    await settle()
    clock.jump(-24 * HOUR)

    await clock.advance(61)

    assert len(queue) == 1
    timers.cancel()


@pytest.mark.parametrize("jump", [HOUR, -HOUR])
async def test_progress_is_written_in_its_turn_when_the_clock_is_set(jump: float) -> None:
    clock = FakeClock()
    budget = WriteBudget(Settings(progress_write_seconds=30), clock)
    assert budget.wait_until(KEY) is None
    budget.note_write(KEY)
    clock.jump(jump)

    assert budget.earliest(KEY) == pytest.approx(clock.now() + 30, abs=0.01)
    await clock.advance(30.1)
    assert budget.wait_until(KEY) is None


@pytest.mark.parametrize("jump", [2 * HOUR, -2 * HOUR, -(10**9)])
async def test_job_trains_to_its_end_when_the_servers_clock_jumps(world: World, jump: float) -> None:
    pods = await world.train(nodes=2)
    await world.pass_time(60)
    world.cluster.clock.jump(jump)
    world.answer(pods[0], step=20)
    await world.pass_time(400)

    assert (world.status()["phase"], world.status()["attempt"]) == ("Training", 0)
    for pod in pods:
        world.end_pod(pod, step=94, steps=94)
    await world.pass_time(40)
    assert world.status()["phase"] == "Succeeded"


async def test_job_restarts_within_minutes_when_the_clock_is_set_back_during_its_back_off(world: World) -> None:
    [pod] = await world.train()
    world.end_pod(pod, outcome="Failed", exit_code=70, failure={"cause": "UserError", "message": "KeyError"})
    await world.pass_time(1)
    world.cluster.clock.jump(-5 * HOUR)
    await world.pass_time(60)
    world.finish_deletions()
    await world.pass_time(60)

    assert [each["metadata"]["name"][-4:] for each in world.pods()] == ["-1-0"]
