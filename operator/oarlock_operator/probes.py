"""Answers to the kubelet's probes: ready while the watches get through, alive while the event loop turns.

A watch that was lost is begun again, and says so meanwhile. One that seems to work and brings nothing is found by echoes: of
the Lease, which is written every other second, and of the operator's own writes.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiohttp import web

from oarlock_operator.controller import Controller
from oarlock_operator.echoes import Echo


@dataclass(frozen=True, kw_only=True, slots=True)
class Patience:
    """How many seconds of each kind of trouble are no trouble."""

    watch: float
    """A watch that was lost, and cannot be begun again."""
    echo: float
    """What was written to the Lease, and no watch brings."""
    unheard: float
    """What was written of any other kind, and its watch does not bring."""
    lag: float
    """By how much the event loop is late."""


_READY = Patience(watch=60, echo=60, unheard=180, lag=5)
_ALIVE = Patience(watch=600, echo=180, unheard=600, lag=30)
"""An API server that is down is no reason to restart the operator soon; a watch that never recovers is one in the end."""


def find_unready(controller: Controller, echo: Echo | None = None) -> str:
    """Return why the operator is not ready; empty if it is."""
    if not controller.store.is_listed():
        return "not everything is listed yet"
    return _find_trouble(controller, echo or Echo(), _READY)


def find_stall(controller: Controller, echo: Echo | None = None) -> str:
    """Return why the operator should be restarted; empty if it should not."""
    return _find_trouble(controller, echo or Echo(), _ALIVE)


@asynccontextmanager
async def serve_probes(controller: Controller, port: int, *, echo: Echo | None = None) -> AsyncIterator[None]:
    """Answer /readyz and /healthz while the context lasts; port 0: not at all."""
    if not port:
        yield
        return
    application = web.Application()
    application.router.add_get("/readyz", _build_handler(lambda: find_unready(controller, echo)))
    application.router.add_get("/healthz", _build_handler(lambda: find_stall(controller, echo)))
    runner = web.AppRunner(application, access_log=None, handle_signals=False, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, port=port).start()
        yield
    finally:
        await runner.cleanup()


def _find_trouble(controller: Controller, echo: Echo, patience: Patience) -> str:
    now, watching = controller.clock.monotonic(), controller.watching
    for kind, since in sorted(watching.failing_since.items()):
        if now - since > patience.watch:
            return f"the watch of {kind} has not got through for {now - since:.0f} s"
    if (missing := echo.missing_for(now=now)) > patience.echo:
        return f"the Lease was written, and its watch has brought nothing for {missing:.0f} s"
    for kind, unheard in sorted(watching.unheard.items()):
        if (seconds := unheard.longest(now=now)) > patience.unheard:
            return f"the watch of {kind} has not brought for {seconds:.0f} s what the operator wrote"
    return f"the event loop is late by {controller.lag:.1f} s" if controller.lag > patience.lag else ""


def _build_handler(find_trouble: Callable[[], str]) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(_: web.Request) -> web.Response:
        trouble = find_trouble()
        return web.Response(text=trouble or "ok", status=503 if trouble else 200)

    return answer
