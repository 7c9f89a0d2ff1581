"""A pod may answer anything at all, at any speed: the operator takes one bounded answer of an agent, and hangs up on the rest."""

import asyncio
import contextlib
import gzip
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oarlock_api.contract import MAX_STATUS_BYTES
from oarlock_operator.cluster.agent_client import fetch_status, find_agent
from oarlock_operator.cluster.port import UnavailableError

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
JSON = b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n"
BODY = b'{"phase": "Training"}'


def make_pod(address: Any = "127.0.0.1", port: int | None = 8470) -> dict[str, Any]:
    ports = [{"name": "status", "containerPort": port}] if port else []
    containers = [{"name": "trainer", "ports": ports}]
    return {"metadata": {"name": "pod"}, "spec": {"containers": containers}, "status": {"podIP": address}}


@contextlib.asynccontextmanager
async def listening(talk: Talk) -> AsyncIterator[int]:
    """A server that says what it likes; yields its port."""
    tasks: set[asyncio.Task[None]] = set()

    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.current_task())  # type: ignore[arg-type]  # there is one
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await talk(reader, writer)
        writer.transport.abort()

    server = await asyncio.start_server(meet, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks)


async def ask(talk: Talk) -> bytes:
    async with listening(talk) as port:
        return await fetch_status(make_pod(port=port))


def say(*parts: bytes, pause: float = 0.0) -> Talk:
    """Say something, and hang up."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(pause)
        writer.close()
        await writer.wait_closed()

    return talk


class Flood:
    """Says something over and over, as fast as it is heard; counts what went out."""

    def __init__(self, head: bytes, part: bytes) -> None:
        self.head, self.part, self.sent = head, part, 0

    async def __call__(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(self.head)
        while True:
            writer.write(self.part)
            await writer.drain()
            self.sent += len(self.part)


@pytest.mark.parametrize(
    "parts",
    [
        [JSON + b"\r\n" + BODY],
        [JSON + b"Content-Length: 21\r\n\r\n", BODY],
        [bytes([byte]) for byte in JSON + b"\r\n" + BODY],
        [b"HTTP/1.1 200\r\ncontent-type:APPLICATION/JSON; charset=utf-8\r\nX: y\r\n\r\n", BODY[:5], BODY[5:]],
        [JSON + b"Content-Length: 21\r\n\r\n" + BODY + b"HTTP/1.0 200 OK"],
    ],
    ids=["until the end", "with a length", "byte by byte", "in parts", "with more behind it"],
)
async def test_answer_is_returned_as_it_is(parts: Iterable[bytes]) -> None:
    assert await ask(say(*parts)) == BODY


async def test_answer_with_a_length_is_complete_while_the_connection_stays_open() -> None:
    async def talk(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(JSON + b"Content-Length: 21\r\n\r\n" + BODY)
        await asyncio.sleep(60)

    assert await ask(talk) == BODY


FLOODS = {
    "body": (JSON + b"\r\n", b" " * 65536),
    "fields": (b"HTTP/1.1 200 OK\r\n", b"X-Y: z\r\n" * 4096),
    "one field": (b"HTTP/1.1 200 OK\r\nX: ", b"y" * 65536),
    "status line": (b"HTTP/1.1 200 ", b"O" * 65536),
    "no HTTP": (b"", b"\n" * 65536),
    "hints": (b"", b"HTTP/1.1 103 Early Hints\r\n\r\n" * 1024),
    "chunks": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: application/json\r\n\r\n",
        b"1\r\na\r\n" * 8192,
    ),
    "promises": (JSON + b"Content-Length: 9999999999\r\n\r\n", b"x" * 65536),
}


@pytest.mark.parametrize(("head", "part"), FLOODS.values(), ids=FLOODS)
async def test_flood_is_hung_up_on_before_it_takes_memory_or_time(head: bytes, part: bytes) -> None:
    flood = Flood(head, part)

    with pytest.raises(UnavailableError):
        await ask(flood)

    # What was written and not read waits in buffers of the two sockets, which hold a few megabytes.
    assert flood.sent < 64_000_000


SLOW: dict[str, Talk] = {
    "silence": say(pause=60),
    "a drop now and then": say(*[b"H", b"T", b"T", b"P"] * 1000, pause=0.05),
    "a field now and then": say(b"HTTP/1.1 200 OK\r\n", *[b"X: y\r\n"] * 1000, pause=0.05),
    "a body that drips": say(JSON + b"\r\n", *[b" "] * 1000, pause=0.05),
    "a length that never comes": say(JSON + b"Content-Length: 22\r\n\r\n" + BODY, *[b""] * 1000, pause=0.05),
}


async def test_slow_agents_are_given_up_after_a_second_each_and_side_by_side() -> None:
    began = time.monotonic()

    failures = await asyncio.gather(*(ask(talk) for talk in SLOW.values()), return_exceptions=True)

    assert all(isinstance(failure, UnavailableError) for failure in failures), failures
    assert time.monotonic() - began < 30


UNFIT = {
    "redirect": (b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/latest/meta-data\r\n\r\n", "HTTP status 302"),
    "error": (b"HTTP/1.1 500 \x1b[31m<script>\r\n\r\n", "HTTP status 500"),
    "HTML": (b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<h1>it works</h1>", "else than JSON"),
    "bomb": (JSON + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(b" " * 10_000_000), "in an encoding"),
    "negative length": (JSON + b"Content-Length: -1\r\n\r\n", "no number"),
    "other digits": (JSON + "Content-Length: ٣\r\n\r\n".encode(), "no number"),
    "torn head": (JSON, "breaks off"),
    "torn body": (JSON + b"Content-Length: 500\r\n\r\n{", "breaks off"),
    "nothing": (b"", "breaks off"),
    "another protocol": (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", "does not speak HTTP"),
    "TLS": (b"\x15\x03\x01\x00\x02\x02\x46\r\n\r\n", "does not speak HTTP"),
}


@pytest.mark.parametrize(("answer", "says"), UNFIT.values(), ids=UNFIT)
async def test_unfit_answer_is_refused_in_our_own_words(answer: bytes, says: str) -> None:
    with pytest.raises(UnavailableError, match=says) as caught:
        await ask(say(answer))

    assert len(str(caught.value)) < 120
    assert str(caught.value).isprintable()


@settings(max_examples=40)
@given(answer=st.binary(max_size=300) | st.binary(max_size=100).map(lambda junk: JSON + b"\r\n" + junk))
def test_whatever_a_pod_answers_is_returned_within_bounds_or_refused(answer: bytes) -> None:
    said: list[str] = []

    async def fetch() -> bytes:
        try:
            return await ask(say(answer))
        except UnavailableError as error:
            said.append(str(error))
            return b""

    assert len(asyncio.run(fetch())) <= MAX_STATUS_BYTES
    assert all(text.isprintable() for text in said)


async def test_nobody_there_is_unavailable() -> None:
    async with listening(say()) as port:
        pass

    with pytest.raises(UnavailableError, match="cannot be reached: ConnectionRefusedError"):
        await fetch_status(make_pod(port=port))


@pytest.mark.parametrize(
    "pod",
    [make_pod(""), make_pod(port=None), make_pod("169.254.169.254@evil"), make_pod("metadata.internal"), make_pod([])],
    ids=["no address", "no port", "user", "name", "list"],
)
def test_agent_is_unavailable_when_nobody_knows_where_it_is(pod: dict[str, Any]) -> None:
    with pytest.raises(UnavailableError):
        find_agent(pod)


def test_agent_is_found_at_an_address_of_version_6() -> None:
    assert find_agent(make_pod("fd00::1")) == ("fd00::1", 8470)
