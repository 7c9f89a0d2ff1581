import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from fake_cluster import FakeClock, settle

from oarlock_operator.keyed_queue import KeyedQueue


class Bench:
    """A queue with workers that note what they do, and stop where they are told to."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.queue: KeyedQueue[str] = KeyedQueue(clock=self.clock, first_delay=1, longest_delay=8, jitter=lambda: 0.5)
        self.log: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def work(self) -> None:
        while True:
            async with self.queue.take() as key:
                self.log.append(key)
                await self.gate.wait()


@pytest.fixture
async def start() -> AsyncIterator[Callable[[int], Awaitable[Bench]]]:
    tasks: list[asyncio.Task[None]] = []

    async def start(workers: int) -> Bench:
        bench = Bench()
        tasks.extend(asyncio.create_task(bench.work()) for _ in range(workers))
        tasks.append(asyncio.create_task(bench.queue.run_timers()))
        await settle()
        return bench

    yield start
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


Start = Callable[[int], Awaitable[Bench]]


async def test_key_runs_once_when_it_is_added_often_before_its_turn(start: Start) -> None:
    bench = await start(1)

    for _ in range(10):
        bench.queue.add("a")
    await settle()

    assert bench.log == ["a"]


async def test_key_is_never_processed_twice_at_a_time_when_there_are_many_workers(start: Start) -> None:
    bench = await start(4)
    bench.gate.clear()
    bench.queue.add("a")
    await settle()

    for _ in range(3):
        bench.queue.add("a")
    await settle()
    assert (bench.log, bench.queue.active) == (["a"], 1)

    bench.gate.set()
    await settle()
    assert bench.log == ["a", "a"]
    assert bench.queue.is_idle


async def test_keys_take_turns_when_one_is_added_all_the_time(start: Start) -> None:
    bench = await start(1)
    bench.gate.clear()
    for key in ("busy", "a", "b"):
        bench.queue.add(key)
    await settle()
    bench.queue.add("busy")

    bench.gate.set()
    await settle()

    assert bench.log == ["busy", "a", "b", "busy"]


async def test_key_runs_at_its_earliest_time_when_it_has_several(start: Start) -> None:
    bench = await start(1)
    now = bench.clock.now()
    for delay in (50, 10, 90):
        bench.queue.add_at("a", now + delay)

    await bench.clock.advance(9.9)
    assert bench.log == []
    await bench.clock.advance(0.2)
    assert bench.log == ["a"]


async def test_delay_doubles_to_its_limit_when_a_key_keeps_failing(start: Start) -> None:
    bench = await start(1)

    assert [bench.queue.punish("a") for _ in range(5)] == [1, 2, 4, 8, 8]


async def test_failed_key_waits_when_it_is_added_meanwhile(start: Start) -> None:
    bench = await start(1)
    bench.queue.punish("a", at_least=5)

    bench.queue.add("a")
    bench.queue.add("b")
    await settle()
    assert bench.log == ["b"]

    await bench.clock.advance(5.1)
    assert bench.log == ["b", "a"]


async def test_failed_keys_run_at_once_when_all_are_forgiven(start: Start) -> None:
    bench = await start(1)
    for key in ("a", "b"):
        bench.queue.punish(key, at_least=1000)

    bench.queue.forgive_all()
    await settle()

    assert sorted(bench.log) == ["a", "b"]
    assert bench.queue.punish("a") == 1


async def test_key_is_free_again_when_its_worker_is_cancelled(start: Start) -> None:
    bench = await start(1)
    bench.gate.clear()
    task = asyncio.create_task(bench.work())
    for key in ("a", "b"):
        bench.queue.add(key)
    await settle()
    assert bench.queue.active == 2

    task.cancel()
    await settle()

    assert bench.queue.active == 1
