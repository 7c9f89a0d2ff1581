import asyncio
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web

from oarlock_api.contract import MAX_STATUS_BYTES
from oarlock_operator.cluster.agent_client import AgentClient, status_url
from oarlock_operator.cluster.port import UnavailableError

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def make_pod(address: str = "127.0.0.1", port: int | None = 8470) -> dict[str, Any]:
    ports = [{"name": "status", "containerPort": port}] if port else []
    containers = [{"name": "trainer", "ports": ports}]
    return {"metadata": {"name": "pod"}, "spec": {"containers": containers}, "status": {"podIP": address}}


@pytest.fixture
async def fetch() -> AsyncIterator[Callable[[Handler], Awaitable[bytes]]]:
    """Asks an agent that answers as a handler does."""
    client, runners = AgentClient(), []

    async def fetch(handler: Handler) -> bytes:
        application = web.Application()
        application.router.add_get("/status", handler)
        runner = web.AppRunner(application, shutdown_timeout=0.1)
        runners.append(runner)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return await client.fetch_status(make_pod(port=runner.addresses[0][1]))

    yield fetch
    await client.close()
    for runner in runners:
        await runner.cleanup()


Fetch = Callable[[Handler], Awaitable[bytes]]


async def test_answer_is_returned_as_it_is(fetch: Fetch) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=b'{"phase": "Training"}')

    assert await fetch(answer) == b'{"phase": "Training"}'


async def test_agent_is_unavailable_when_it_answers_endlessly(fetch: Fetch) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b" " * 16384)

    with pytest.raises(UnavailableError, match=str(MAX_STATUS_BYTES)):
        await fetch(answer)


async def test_agent_is_unavailable_when_it_takes_its_time(fetch: Fetch) -> None:
    async def answer(_: web.Request) -> web.Response:
        await asyncio.sleep(30)
        return web.Response()

    async with asyncio.timeout(3):
        with pytest.raises(UnavailableError, match="does not answer"):
            await fetch(answer)


async def test_redirect_is_not_followed(fetch: Fetch) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": "http://169.254.169.254/latest/meta-data"})

    with pytest.raises(UnavailableError, match="302"):
        await fetch(answer)


async def test_bomb_is_not_unpacked(fetch: Fetch) -> None:
    bomb = gzip.compress(b" " * 10_000_000)
    assert len(bomb) < MAX_STATUS_BYTES

    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=bomb, headers={"Content-Encoding": "gzip"})

    assert await fetch(answer) == bomb


def test_address_is_bracketed_when_it_is_of_version_6() -> None:
    assert status_url(make_pod("fd00::1")) == "http://[fd00::1]:8470/status"


@pytest.mark.parametrize("pod", [make_pod(""), make_pod(port=None)], ids=["no address", "no port"])
def test_agent_is_unavailable_when_nobody_knows_where_it_is(pod: dict[str, Any]) -> None:
    with pytest.raises(UnavailableError):
        status_url(pod)
