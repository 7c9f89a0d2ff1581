"""A node on which pods run on paper only: it is alive, serves claims with folders, and a test says what becomes of its pods."""

import asyncio
import threading
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Self

from kube_node.kubernetes_node import KubernetesNode, run_node


class _NobodyRuns:
    async def run(self) -> None:
        await asyncio.Event().wait()


class _PaperNode(KubernetesNode):
    def _build_process_node(self, api: Any) -> Any:  # noqa: ARG002
        return _NobodyRuns()


class PaperNode:
    """Start with `with PaperNode(kubeconfig, folder)`: it lives in a thread of its own."""

    def __init__(self, kubeconfig: Path, folder: Path, *, name: str = "paper-node", gpus: int = 0) -> None:
        self.name = name
        devices = [str(number) for number in range(gpus)]
        self._node = _PaperNode(kubeconfig, folder, name=name, cpus=512, memory=2**42, gpus=devices)
        self._ready: Future[None] = Future()
        self._end: asyncio.Event
        self._loop: asyncio.AbstractEventLoop
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name=name, daemon=True)

    async def _run(self) -> None:
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        try:
            async with run_node(self._node):
                self._ready.set_result(None)
                await self._end.wait()
        except BaseException as error:
            if not self._ready.done():
                self._ready.set_exception(error)
            raise

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.result(timeout=120)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(timeout=120)
