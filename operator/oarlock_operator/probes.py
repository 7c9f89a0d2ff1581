"""Answers to the kubelet's probes: ready while the watches get through, alive while the event loop turns."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Protocol

from aiohttp import web

from oarlock_operator.controller import Controller

_READY_WATCH_SECONDS = 60.0
_ALIVE_WATCH_SECONDS = 600.0
"""An API server that is down is no reason to restart the operator soon; a watch that never recovers is one in the end."""
_READY_LAG_SECONDS = 5.0
_ALIVE_LAG_SECONDS = 30.0


class _FindTrouble(Protocol):
    def __call__(self, controller: Controller, *, now: float) -> str: ...


def find_unready(controller: Controller, *, now: float) -> str:
    """Return why the operator is not ready; empty if it is."""
    if not controller.store.is_listed():
        return "not everything is listed yet"
    return _find_trouble(controller, now=now, watch_seconds=_READY_WATCH_SECONDS, lag_seconds=_READY_LAG_SECONDS)


def find_stall(controller: Controller, *, now: float) -> str:
    """Return why the operator should be restarted; empty if it should not."""
    return _find_trouble(controller, now=now, watch_seconds=_ALIVE_WATCH_SECONDS, lag_seconds=_ALIVE_LAG_SECONDS)


@asynccontextmanager
async def serve_probes(controller: Controller, port: int) -> AsyncIterator[None]:
    """Answer /readyz and /healthz while the context lasts; port 0: not at all."""
    if not port:
        yield
        return
    application = web.Application()
    application.router.add_get("/readyz", _build_handler(controller, find_unready))
    application.router.add_get("/healthz", _build_handler(controller, find_stall))
    runner = web.AppRunner(application, access_log=None, handle_signals=False, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, port=port).start()
        yield
    finally:
        await runner.cleanup()


def _find_trouble(controller: Controller, *, now: float, watch_seconds: float, lag_seconds: float) -> str:
    for kind, since in sorted(controller.watching.failing_since.items()):
        if now - since > watch_seconds:
            return f"the watch of {kind} has not got through for {now - since:.0f} s"
    if controller.lag > lag_seconds:
        return f"the event loop is late by {controller.lag:.1f} s"
    return ""


def _build_handler(
    controller: Controller, find_trouble: _FindTrouble
) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(_: web.Request) -> web.Response:
        trouble = find_trouble(controller, now=time.time())
        return web.Response(text=trouble or "ok", status=503 if trouble else 200)

    return answer
