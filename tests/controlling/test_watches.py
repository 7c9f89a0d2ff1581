from collections.abc import AsyncIterator

import pytest
from controlling.scripted_server import Answer, ScriptedServer, change, failure, page, serve

from oarlock_operator.cluster import watches
from oarlock_operator.cluster.connection import Connection
from oarlock_operator.cluster.port import Change, RefusedError, UnavailableError, WatchEvent
from oarlock_operator.cluster.resources import RESOURCES

PODS = RESOURCES["Pod"]
BOOKMARK = {"type": "BOOKMARK", "object": {"kind": "Pod", "metadata": {"resourceVersion": "50"}}}
GONE = {"type": "ERROR", "object": {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}}


@pytest.fixture
def server() -> ScriptedServer:
    return ScriptedServer()


@pytest.fixture
async def connection(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Connection]:
    monkeypatch.setattr(watches, "_FIRST_PAUSE", 0.001)
    async with serve(server) as connected:
        yield connected


def follow(connection: Connection) -> AsyncIterator[WatchEvent]:
    return watches.follow(connection, PODS, namespace="team", labels={"b": "2", "a": "1"})


async def read(events: AsyncIterator[WatchEvent], count: int) -> list[str]:
    """Return what the next events are about, in short."""
    told = []
    for _ in range(count):
        event = await anext(events)
        about = [event.object] if event.object else list(event.listed)
        told.append(f"{event.change.value} {','.join(each['metadata']['name'] for each in about)}")
    return told


async def test_list_is_read_page_by_page(server: ScriptedServer, connection: Connection) -> None:
    server.then(page("a", "b", more="next"), page("c", version="11"))

    listed, version = await watches.list_objects(connection, PODS, namespace=None, labels=None)

    assert ([each["metadata"]["name"] for each in listed], version) == (["a", "b", "c"], "11")
    assert [request.path for request in server.requests] == ["/api/v1/pods"] * 2
    assert server.requests[1].query["continue"] == "next"


async def test_list_is_read_at_once_when_its_next_page_has_expired(
    server: ScriptedServer, connection: Connection
) -> None:
    server.then(page("a", more="next"), failure(410, "Expired"), page("a", "b"))

    listed, _ = await watches.list_objects(connection, PODS, namespace=None, labels=None)

    assert len(listed) == 2
    assert "limit" not in server.requests[2].query


async def test_what_nobody_reads_is_left_out_of_pods(server: ScriptedServer, connection: Connection) -> None:
    server.then(page("a"))

    (listed,), _ = await watches.list_objects(connection, PODS, namespace=None, labels=None)

    assert listed["spec"] == {"containers": [{"name": "trainer", "ports": [], "resources": {}}], "nodeName": "n"}
    assert "managedFields" not in listed["metadata"]
    assert (listed["kind"], listed["apiVersion"]) == ("Pod", "v1")


async def test_watch_begins_where_the_list_ended_and_selects_on_the_server(
    server: ScriptedServer, connection: Connection
) -> None:
    server.then(page("a"), Answer(lines=[change("ADDED", "b", "11")], hangs=True))

    assert await read(follow(connection), 2) == ["RELISTED a", "ADDED b"]
    query = server.requests[1].query
    assert (query["resourceVersion"], query["labelSelector"], query["watch"]) == ("10", "a=1,b=2", "true")
    assert query["allowWatchBookmarks"] == "true"


async def test_watch_goes_on_after_the_last_version_when_the_server_ends_it(
    server: ScriptedServer, connection: Connection
) -> None:
    server.then(
        page("a"),
        Answer(lines=[change("MODIFIED", "a", "12"), BOOKMARK]),
        Answer(lines=[change("DELETED", "a", "51")], hangs=True),
    )

    assert await read(follow(connection), 3) == ["RELISTED a", "MODIFIED a", "DELETED a"]
    assert server.requests[2].query["resourceVersion"] == "50"


@pytest.mark.parametrize("gone", [Answer(lines=[GONE]), failure(410, "Expired")], ids=["line", "status"])
async def test_watch_lists_anew_when_the_version_is_forgotten(
    server: ScriptedServer, connection: Connection, gone: Answer
) -> None:
    server.then(page("a", "b"), gone, page("b"), Answer(lines=[], hangs=True))

    assert await read(follow(connection), 2) == ["RELISTED a,b", "RELISTED b"]


async def test_watch_is_taken_up_when_the_server_is_busy_for_a_while(
    server: ScriptedServer, connection: Connection
) -> None:
    busy = [failure(503, "ServiceUnavailable"), failure(429, "TooManyRequests"), failure(401, "Unauthorized")]
    server.then(page("a"), *busy, Answer(lines=[change("MODIFIED", "a", "12")], hangs=True))

    assert await read(follow(connection), 2) == ["RELISTED a", "MODIFIED a"]


async def test_watch_gives_up_when_it_cannot_be_taken_up_many_times(
    server: ScriptedServer, connection: Connection
) -> None:
    server.then(page("a"), *[failure(500, "InternalError")] * 10)
    events = follow(connection)
    await anext(events)

    with pytest.raises(UnavailableError):
        await anext(events)


async def test_watch_is_begun_anew_when_it_is_silent(
    server: ScriptedServer, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watches, "_SILENCE_SECONDS", 0.05)
    server.then(page("a"), Answer(lines=[], hangs=True), Answer(lines=[change("MODIFIED", "a", "12")], hangs=True))

    assert await read(follow(connection), 2) == ["RELISTED a", "MODIFIED a"]


async def test_watch_is_taken_up_when_a_line_is_cut_off(server: ScriptedServer, connection: Connection) -> None:
    server.then(
        page("a"), Answer(lines=[], torn=b'{"type": "MOD'), Answer(lines=[change("MODIFIED", "a", "12")], hangs=True)
    )

    assert await read(follow(connection), 2) == ["RELISTED a", "MODIFIED a"]


async def test_watch_is_refused_when_we_may_not(server: ScriptedServer, connection: Connection) -> None:
    server.then(failure(403, "Forbidden", 'pods is forbidden: User "x" cannot list'))

    with pytest.raises(RefusedError, match="cannot list"):
        await anext(follow(connection))


async def test_event_knows_what_it_is_when_it_was_listed(server: ScriptedServer, connection: Connection) -> None:
    server.then(page("a"))

    event = await anext(follow(connection))

    assert (event.change, event.listed[0]["kind"]) == (Change.RELISTED, "Pod")
