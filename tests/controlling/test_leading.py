"""Who of several operators leads, whatever becomes of them, of the server and of the clocks."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from fake_cluster import FakeClock
from fake_lease import FakeLine, FakeServer
from hypothesis import given, settings
from hypothesis import strategies as st

from oarlock_operator.cluster.leases import parse_lease
from oarlock_operator.leading import (
    LEASE_SECONDS,
    RENEW_SECONDS,
    WRITE_SECONDS,
    Lease,
    Move,
    Sighting,
    build_lease,
    decide_move,
    look,
)
from oarlock_operator.leading_campaign import Campaign
from oarlock_operator.metrics import Metrics

THEIRS = Lease(version="7", holder="other", renewed="2023-11-14T22:13:20.000000Z")


class Replicas:
    """Operators that want one Lease."""

    def __init__(self, *names: str) -> None:
        self.clock, self.server = FakeClock(), FakeServer()
        self.lines = {name: FakeLine(self.server) for name in names}
        self.campaigns: dict[str, Campaign] = {}
        self.gains: list[str] = []
        self.losses: list[str] = []
        self._tasks: dict[str, list[asyncio.Task[None]]] = {}

    async def start(self, name: str) -> Campaign:
        campaign = self.campaigns[name] = Campaign(self.lines[name], me=name, clock=self.clock, metrics=Metrics())
        campaign.tell(gained=lambda: self.gains.append(name), lost=lambda: self.losses.append(name))
        self._tasks[name] = [asyncio.create_task(campaign.run()), asyncio.create_task(campaign.watch())]
        await self.clock.advance(0)
        return campaign

    async def kill(self, name: str) -> None:
        for task in self._tasks.pop(name, []):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    @property
    def running(self) -> set[str]:
        return set(self._tasks)

    @property
    def leaders(self) -> list[str]:
        return [name for name, campaign in self.campaigns.items() if name in self._tasks and campaign.is_held()]

    async def stop(self) -> None:
        for name in list(self._tasks):
            await self.kill(name)


@pytest.fixture
async def replicas() -> AsyncIterator[Replicas]:
    replicas = Replicas("a", "b")
    await replicas.start("a")
    await replicas.start("b")
    yield replicas
    await replicas.stop()


async def test_first_one_leads_and_goes_on_leading(replicas: Replicas) -> None:
    for _ in range(60):
        await replicas.clock.advance(1)
        assert replicas.leaders == ["a"]

    assert replicas.gains == ["a"]
    assert replicas.server.writes <= 60 / RENEW_SECONDS + 2


async def test_second_one_leads_within_ten_seconds_when_the_first_is_killed(replicas: Replicas) -> None:
    await replicas.clock.advance(31)
    await replicas.kill("a")
    await replicas.clock.advance(LEASE_SECONDS - RENEW_SECONDS - 0.1)
    assert replicas.leaders == []

    await replicas.clock.advance(RENEW_SECONDS + 2)

    assert replicas.leaders == ["b"]
    assert replicas.server.lease
    assert replicas.server.lease.transitions == 1


async def test_second_one_leads_at_once_when_the_first_gives_the_lease_back(replicas: Replicas) -> None:
    await replicas.clock.advance(5)
    await replicas.campaigns["a"].release()
    await replicas.kill("a")

    await replicas.clock.advance(0)

    assert replicas.leaders == ["b"]


async def test_leader_stops_before_another_may_begin_when_its_line_is_dead(replicas: Replicas) -> None:
    await replicas.clock.advance(10)
    replicas.lines["a"].is_dead = True
    for _ in range(200):
        await replicas.clock.advance(0.1)
        assert len(replicas.leaders) <= 1
    assert replicas.leaders == ["b"]

    replicas.lines["a"].is_dead = False
    await replicas.clock.advance(20)

    assert replicas.leaders == ["b"]
    assert (replicas.gains, replicas.losses) == (["a", "b"], ["a"])


async def test_leader_leads_again_when_the_server_was_away_for_ten_minutes(replicas: Replicas) -> None:
    for line in replicas.lines.values():
        line.is_dead = True
    await replicas.clock.advance(600)
    assert replicas.leaders == []

    for line in replicas.lines.values():
        line.is_dead = False
    await replicas.clock.advance(20)

    assert len(replicas.leaders) == 1


@pytest.mark.parametrize("jump", [7200.0, -7200.0])
async def test_nobody_else_leads_when_a_clock_is_set(replicas: Replicas, jump: float) -> None:
    await replicas.clock.advance(3)
    replicas.clock.jump(jump)

    await replicas.clock.advance(30)

    assert (replicas.leaders, replicas.gains) == (["a"], ["a"])


async def test_leader_stops_when_somebody_else_took_the_lease(replicas: Replicas) -> None:
    await replicas.clock.advance(3)
    before = replicas.server.lease
    assert before
    replicas.server.write(build_lease(before, me="the administrator", written="now", seconds=300))

    await replicas.clock.advance(RENEW_SECONDS + 1)

    assert replicas.leaders == []
    await replicas.clock.advance(290)
    assert replicas.leaders == []
    await replicas.clock.advance(20)
    assert len(replicas.leaders) == 1


async def test_lease_is_made_anew_when_it_was_deleted(replicas: Replicas) -> None:
    await replicas.clock.advance(3)
    replicas.server.lease = None

    await replicas.clock.advance(5)

    assert len(replicas.leaders) == 1
    assert replicas.server.lease


@pytest.mark.parametrize("name", ["a", "b"])
async def test_echo_is_missed_when_the_watch_brings_nothing(replicas: Replicas, name: str) -> None:
    """Who leads hears of its own renewals, who waits of those of the other."""
    await replicas.clock.advance(60)
    echo = replicas.campaigns[name].echo
    assert echo.missing_for(now=replicas.clock.monotonic()) < 3

    replicas.lines[name].is_deaf = True
    await replicas.clock.advance(200)
    assert echo.missing_for(now=replicas.clock.monotonic()) > 190

    replicas.lines[name].is_dead = True
    await replicas.clock.advance(5)
    assert echo.missing_for(now=replicas.clock.monotonic()) == 0


@settings(max_examples=30, deadline=None)
@given(
    accidents=st.lists(
        st.tuples(st.sampled_from("abc"), st.floats(0, 30), st.sampled_from(["kill", "line", "start"])), max_size=8
    )
)
def test_never_two_lead_whatever_happens(accidents: list[tuple[str, float, str]]) -> None:
    asyncio.run(live_through(accidents))


async def live_through(accidents: list[tuple[str, float, str]]) -> None:
    replicas = Replicas("a", "b", "c")
    for name in "abc":
        await replicas.start(name)
    for name, seconds, what in accidents:
        for _ in range(10):
            await replicas.clock.advance(seconds / 10)
            assert len(replicas.leaders) <= 1
        if what == "kill":
            await replicas.kill(name)
        elif what == "line":
            replicas.lines[name].is_dead = not replicas.lines[name].is_dead
        elif name not in replicas.running:
            await replicas.start(name)
    await replicas.stop()


@pytest.mark.parametrize(
    ("lease", "age", "move"),
    [
        (THEIRS, 0, Move.WAIT),
        (THEIRS, LEASE_SECONDS - 0.01, Move.WAIT),
        (THEIRS, LEASE_SECONDS, Move.TAKE),
        (Lease(version="7", holder="me"), 0, Move.RENEW),
        (Lease(version="7"), 0, Move.TAKE),
        (Lease(version="7", holder="other", seconds=10**9), 599, Move.WAIT),
        (Lease(version="7", holder="other", seconds=10**9), 600, Move.TAKE),
        (Lease(version="7", holder="other", seconds=-5), 1, Move.TAKE),
        (None, 0, Move.CREATE),
    ],
)
def test_lease_is_taken_when_it_is_free(lease: Lease | None, age: float, move: Move) -> None:
    sighting = Sighting(lease=lease, since=100.0) if lease else None

    assert decide_move(sighting, me="me", now=100.0 + age) is move


def test_lease_counts_as_renewed_only_when_it_changed() -> None:
    first = look(None, THEIRS, now=10)
    labelled = look(first, Lease(version="8", holder="other", renewed=THEIRS.renewed), now=15)
    renewed = look(labelled, Lease(version="9", holder="other", renewed="later"), now=16)

    assert (first.since, labelled.since, renewed.since) == (10, 10, 16)
    assert labelled.lease.version == "8"


def test_holder_stops_writing_before_others_take_the_lease() -> None:
    assert WRITE_SECONDS < LEASE_SECONDS
    assert WRITE_SECONDS > 2 * RENEW_SECONDS


def test_lease_that_somebody_else_wrote_is_understood() -> None:
    assert parse_lease({"metadata": {}, "spec": None}) == Lease(version="")
