"""Lists by the page and watches that go on.

A lost connection is taken up where it broke off, a silent one is given up, and only a version that the server has forgotten
means listing again.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from typing import Any

from oarlock_operator.cluster.api_errors import GoneError, build_error
from oarlock_operator.cluster.connection import Connection
from oarlock_operator.cluster.port import Change, Object, UnavailableError, WatchEvent
from oarlock_operator.cluster.resources import Resource

_log = logging.getLogger(__name__)

_PAGE = 500
_LIST_SECONDS = 60.0
_STREAM_SECONDS = 290
"""After so long the server ends a watch: as often as its own default, but not at a random time."""
_SILENCE_SECONDS = 90.0
"""The server sends a bookmark every minute, so that a connection on which nothing comes for longer is dead."""
_RESUMPTIONS = 5
_FIRST_PAUSE = 0.2


async def list_objects(
    connection: Connection, resource: Resource, *, namespace: str | None, labels: Mapping[str, str] | None
) -> tuple[tuple[Object, ...], str]:
    """Return all objects of a kind, and the version to watch from.

    Raises:
        ClusterError.
    """
    try:
        return await _list(connection, resource, namespace=namespace, query=_select(resource, labels), page=_PAGE)
    except GoneError:
        # The list took longer than the server keeps old versions: at once is the only way then.
        return await _list(connection, resource, namespace=namespace, query=_select(resource, labels), page=0)


async def follow(
    connection: Connection, resource: Resource, *, namespace: str | None, labels: Mapping[str, str] | None
) -> AsyncIterator[WatchEvent]:
    """Yield what is there, and what changes from then on, for ever.

    Raises:
        ClusterError: the watch cannot be begun, or could not be taken up again several times.
    """
    while True:
        listed, version = await list_objects(connection, resource, namespace=namespace, labels=labels)
        yield WatchEvent(change=Change.RELISTED, listed=listed)
        del listed
        try:
            async for event in _resume(connection, resource, namespace, _select(resource, labels), version):
                yield event
        except GoneError:
            _log.info("the watch of %s is too old to be taken up again, listing", resource.plural)


async def _list(
    connection: Connection, resource: Resource, *, namespace: str | None, query: dict[str, str], page: int
) -> tuple[tuple[Object, ...], str]:
    path = resource.path(namespace=namespace)
    query = {**query, **({"limit": str(page)} if page else {})}
    found: list[Object] = []
    while True:
        answer = await connection.request(
            "list", path, resource=resource.plural, query=query, seconds=_LIST_SECONDS, accept=resource.accept
        )
        # The items of a list do not say what they are.
        kind = {"apiVersion": resource.api_version, "kind": resource.kind}
        found.extend(resource.trim({**kind, **item}) for item in answer.get("items") or ())
        if not (more := answer["metadata"].get("continue")):
            return tuple(found), answer["metadata"]["resourceVersion"]
        query["continue"] = more


async def _resume(
    connection: Connection, resource: Resource, namespace: str | None, query: dict[str, str], version: str
) -> AsyncIterator[WatchEvent]:
    """Yield changes since a version; end never, but by an error."""
    failures = 0
    while True:
        try:
            async for line in _stream(connection, resource, namespace, {**query, "resourceVersion": version}):
                failures = 0
                version = line["object"]["metadata"]["resourceVersion"]
                if line["type"] in {Change.ADDED, Change.MODIFIED, Change.DELETED}:
                    yield WatchEvent(change=Change(line["type"]), object=resource.trim(line["object"]))
        except UnavailableError as error:
            failures += 1
            if failures > _RESUMPTIONS:
                raise
            pause = max(error.retry_after, _FIRST_PAUSE * 2**failures)
            _log.info("the watch of %s broke off, going on in %.1f s: %s", resource.plural, pause, error)
            await asyncio.sleep(pause)


async def _stream(
    connection: Connection, resource: Resource, namespace: str | None, query: dict[str, str]
) -> AsyncIterator[dict[str, Any]]:
    """Yield the lines of one connection until it ends in order."""
    options = {"watch": "true", "allowWatchBookmarks": "true", "timeoutSeconds": str(_STREAM_SECONDS)}
    path = resource.path(namespace=namespace)
    async with connection.stream(path, resource=resource.plural, query={**query, **options}) as lines:
        while True:
            try:
                async with asyncio.timeout(_SILENCE_SECONDS):
                    line = await anext(lines, None)
            except TimeoutError:
                _log.debug("the watch of %s was silent for %d s, beginning anew", resource.plural, _SILENCE_SECONDS)
                return
            if line is None:
                return
            if line["type"] == "ERROR":
                raise _build_stream_error(line["object"])
            yield line


def _build_stream_error(status: Mapping[str, Any]) -> Exception:
    """Return the error that a line of a watch stands for, which has the form of a failed request's body."""
    code, message = int(status.get("code") or 0), str(status.get("message") or "")
    error = build_error(code, message.encode(), headers={}, verb="watch", reference=None)
    return error if isinstance(error, GoneError) else UnavailableError(message, status=code)


def _select(resource: Resource, labels: Mapping[str, str] | None) -> dict[str, str]:
    query = {"labelSelector": ",".join(f"{label}={value}" for label, value in sorted((labels or {}).items()))}
    query["fieldSelector"] = resource.field_selector
    return {name: value for name, value in query.items() if value}
