"""What a node leaves behind in its own process when it ends: nothing, in whatever way it is made to end."""

import asyncio
import gc
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from local.local_scene import Scene, find_processes_of, is_running, make_pod

from oarlock.local.cluster import LocalCluster
from oarlock.local.local_node_port import LocalNodePort
from oarlock.local.machine import Machine
from oarlock.local.node import ProcessNode


class FailingPort(LocalNodePort):
    """Cannot write that a pod runs."""

    async def write_pod_status(self, pod: dict[str, Any], status: dict[str, Any]) -> None:
        if status["phase"] == "Running":
            raise ConnectionResetError
        await super().write_pod_status(pod, status)


async def cancel_once(running: asyncio.Task[None]) -> None:
    running.cancel()
    await asyncio.wait({running})


async def cancel_again_and_again(running: asyncio.Task[None]) -> None:
    while not running.done():
        running.cancel()
        await asyncio.sleep(0)


@pytest.mark.parametrize("cancel", [cancel_once, cancel_again_and_again])
@pytest.mark.parametrize("make_port", [LocalNodePort, FailingPort])
def test_nothing_is_left_of_a_pod_when_its_node_is_cancelled(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    make_port: Callable[[LocalCluster], LocalNodePort],
    cancel: Callable[[asyncio.Task[None]], Any],
) -> None:
    """Descriptors that are open when the event loop has gone make their noise in whichever test comes next."""
    left: list[Any] = []

    async def run_node() -> None:
        cluster = LocalCluster(tmp_path, machine=Machine(cpus=2, memory=2**32, gpus=()))
        node = ProcessNode(make_port(cluster), folder=tmp_path / "pods", logs=tmp_path / "logs", status_port=8470)
        running = asyncio.create_task(node.run())
        scene = Scene(cluster, tmp_path)
        reference = await scene.create(make_pod("sleep 1000"))
        pod = await scene.wait(reference, lambda pod: is_running(pod) or pod["status"].get("phase") == "Failed")
        await cancel(running)
        cluster.close()
        left.extend(find_processes_of(pod["metadata"]["uid"]))

    monkeypatch.setattr(sys, "unraisablehook", left.append)
    asyncio.run(run_node())
    gc.collect()
    assert left == []
