"""An API server that answers what a test tells it to."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from kubernetes.aio.client import Configuration

from oarlock_operator.clock import ServerClock
from oarlock_operator.cluster.connection import Connection
from oarlock_operator.metrics import Metrics


@dataclass
class Answer:
    """One answer: a body, or lines of a watch with a torn end; `hangs` keeps the connection open after them."""

    body: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    lines: Sequence[Any] | None = None
    torn: bytes = b""
    hangs: bool = False


class ScriptedServer:
    """Answers requests in the order of its script, and notes them."""

    def __init__(self) -> None:
        self.script: list[Answer] = []
        self.requests: list[web.Request] = []
        self.bodies: list[Any] = []

    def then(self, *answers: Answer) -> None:
        self.script.extend(answers)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        content = await request.read()
        self.bodies.append(json.loads(content) if content else None)
        assert self.script, f"nothing is scripted for {request.method} {request.path_qs}"
        scripted = self.script.pop(0)
        if scripted.lines is None:
            return web.Response(text=json.dumps(scripted.body), status=scripted.status, headers=scripted.headers)
        response = web.StreamResponse()
        await response.prepare(request)
        for line in scripted.lines:
            await response.write(json.dumps(line).encode() + b"\n")
        await response.write(scripted.torn)
        if scripted.hangs:
            await asyncio.Event().wait()
        return response


@asynccontextmanager
async def serve(server: ScriptedServer, metrics: Metrics | None = None) -> AsyncIterator[Connection]:
    """Yield a connection to the server."""
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", server.answer)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    configuration = Configuration(host=f"http://127.0.0.1:{port}")
    connection = Connection(configuration, metrics=metrics or Metrics(), clock=ServerClock())
    try:
        yield connection
    finally:
        await connection.close()
        await runner.cleanup()


def failure(status: int, reason: str, message: str = "no", **more: Any) -> Answer:
    body = {"kind": "Status", "status": "Failure", "reason": reason, "message": message, "code": status, **more}
    return Answer(body=body, status=status)


def page(*names: str, version: str = "10", more: str = "") -> Answer:
    items = [pod(name, "1") for name in names]
    return Answer(body={"metadata": {"resourceVersion": version, "continue": more}, "items": items})


def pod(name: str, version: str) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "namespace": "team", "uid": name, "resourceVersion": version, "managedFields": [1]},
        "spec": {"nodeName": "n", "containers": [{"name": "trainer", "env": [{"name": "A", "value": "x" * 1000}]}]},
    }


def change(kind: str, name: str, version: str) -> dict[str, Any]:
    return {"type": kind, "object": {"kind": "Pod", "apiVersion": "v1", **pod(name, version)}}
