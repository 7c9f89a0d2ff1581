"""kopf as a source of events, and nothing else: no annotations, no finalizers, no status, no progress of its own.

Its handlers pass on what its watches bring. An event of type None belongs to a listing: at the start, or after a gap in which
deletions may have gone unseen, so that it asks for a comparison.
"""

import asyncio
import os
from collections.abc import Iterator
from typing import Any

import kopf

from oarlock_api.v1alpha1 import GROUP, VERSION
from oarlock_operator.cluster.port import Change, WatchEvent
from oarlock_operator.controller import Controller
from oarlock_operator.settings import Settings

_KINDS = {"datasets": "Dataset", "trainingjobs": "TrainingJob"}

_REQUEST_SECONDS = 15.0
_CONNECT_SECONDS = 5.0
_STREAM_SECONDS = 290
_PAGE = 500
_WORKERS = 200
_IDLE_SECONDS = 0.2
"""An idle worker of kopf's holds its place this long; with the default of 5 s, a limit of workers would throttle all events."""


class _Forever:
    """Delays between retries that never end: kopf would stop the whole operator after the last one."""

    def __iter__(self) -> Iterator[float]:
        delay = 0.5
        while True:
            yield delay
            delay = min(delay * 2, 15.0)


class _NoDiffBase(kopf.DiffBaseStorage):
    """Keeps nothing of an object: kopf would copy each one whole, with every event, to find changes that nobody asks for."""

    def build(self, **_: Any) -> kopf.BodyEssence:
        return kopf.BodyEssence()

    def fetch(self, **_: Any) -> None:
        return None

    def store(self, **_: Any) -> None:
        return None


class _NoProgress(kopf.ProgressStorage):
    """Keeps no progress of handlers: the state of the operator is in the cluster."""

    def fetch(self, **_: Any) -> None:
        return None

    def store(self, **_: Any) -> None:
        return None

    def purge(self, **_: Any) -> None:
        return None

    def touch(self, **_: Any) -> None:
        return None

    def clear(self, *, essence: kopf.BodyEssence) -> kopf.BodyEssence:
        return essence


def build_registry(controller: Controller) -> kopf.OperatorRegistry:
    """Return handlers that feed the controller."""
    registry = kopf.OperatorRegistry()
    kopf.on.login(registry=registry)(_log_in)
    for plural, kind in _KINDS.items():
        kopf.on.event(GROUP, VERSION, plural, registry=registry)(_build_handler(controller, kind))
    return registry


def build_settings() -> kopf.OperatorSettings:
    """Return settings under which kopf watches two kinds, and asks for no rights besides."""
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.persistence.diffbase_storage = _NoDiffBase()
    settings.persistence.progress_storage = _NoProgress()
    settings.scanning.disabled = True
    settings.watching.server_timeout = _STREAM_SECONDS
    settings.watching.connect_timeout = _CONNECT_SECONDS
    settings.watching.chunk_size = _PAGE
    settings.networking.request_timeout = _REQUEST_SECONDS
    settings.networking.connect_timeout = _CONNECT_SECONDS
    settings.networking.error_backoffs = _Forever()
    settings.queueing.worker_limit = _WORKERS
    settings.queueing.idle_timeout = _IDLE_SECONDS
    return settings


async def run_event_source(controller: Controller, settings: Settings) -> None:
    """Run kopf until it is told to stop by a signal."""
    tasks = await kopf.spawn_tasks(
        registry=build_registry(controller),
        settings=build_settings(),
        standalone=True,
        clusterwide=not settings.namespace,
        namespaces=[settings.namespace] if settings.namespace else [],
    )
    # `kopf.operator` would take all tasks of the event loop for its own: wait 5 s at the end for ours, and cancel them.
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def translate(kind: str, raw: Any) -> WatchEvent:
    """Return a raw event of kopf's in the words of the port."""
    change = Change.DELETED if raw["type"] == "DELETED" else Change.MODIFIED
    return WatchEvent(change=change, object={**raw["object"], "kind": kind})


def _build_handler(controller: Controller, kind: str) -> Any:
    async def feed(event: Any, **_: Any) -> None:  # kopf would run a plain function in a thread
        controller.feed(kind, translate(kind, event))
        if event["type"] is None:
            controller.hint_relist(kind)

    return feed


def _log_in(**kwargs: Any) -> kopf.ConnectionInfo | None:
    """Log in as `Connection.open` does: by KUBECONFIG where it is set, else as the service account."""
    return kopf.login_with_service_account(**kwargs) if not _has_kubeconfig() else kopf.login_with_kubeconfig(**kwargs)


def _has_kubeconfig() -> bool:
    return "KUBECONFIG" in os.environ or "KUBERNETES_SERVICE_HOST" not in os.environ
