"""A local cluster with its process node, and pods that run small programs."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import psutil

from oarlock.local.cluster import LocalCluster
from oarlock.local.local_node_port import LocalNodePort
from oarlock.local.machine import Machine
from oarlock.local.node import ProcessNode
from oarlock.local.process import POD_MARK_ENV
from oarlock_operator.reconcile.plans import Reference

Object = dict[str, Any]

PATIENCE_SECONDS = 90


class Scene:
    """What a test of pods on the local cluster needs."""

    def __init__(self, cluster: LocalCluster, folder: Path) -> None:
        self.cluster, self.folder = cluster, folder

    async def create(self, manifest: Object) -> Reference:
        stored = await self.cluster.create(manifest)
        metadata = stored["metadata"]
        return Reference(kind=stored["kind"], namespace=metadata["namespace"], name=metadata["name"])

    async def run(self, *command: str, **wishes: Any) -> Object:
        """Run a pod to its end; return it."""
        reference = await self.create(make_pod(*command, **wishes))
        return await self.wait(reference, has_ended)

    async def wait(self, reference: Reference, holds: Callable[[Object], bool]) -> Object:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            found = await self.cluster.get(reference)
            if holds(found):
                return found
            assert time.monotonic() < deadline, f"it did not come to pass: {found.get('status')}"
            await asyncio.sleep(0.02)

    async def wait_until_gone(self, reference: Reference) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while any(item["metadata"]["name"] == reference.name for item in await self.cluster.list(reference.kind)):
            assert time.monotonic() < deadline, f"{reference} is still there"
            await asyncio.sleep(0.02)

    async def delete(self, reference: Reference, *, grace_seconds: int | None = None) -> None:
        found = await self.cluster.get(reference)
        await self.cluster.delete(reference, uid=found["metadata"]["uid"], grace_seconds=grace_seconds)

    def log(self, reference: Reference) -> str:
        return (self.folder / "logs" / reference.namespace / f"{reference.name}.log").read_text()


@contextlib.asynccontextmanager
async def open_scene(folder: Path, *, gpus: tuple[str, ...] = ()) -> AsyncIterator[Scene]:
    cluster = LocalCluster(folder, machine=Machine(cpus=2, memory=2**32, gpus=gpus))
    node = ProcessNode(
        LocalNodePort(cluster), folder=folder / "pods", logs=folder / "logs", status_port=8470, devices=gpus
    )
    running = asyncio.create_task(node.run())
    try:
        yield Scene(cluster, folder)
        if running.done():
            running.result()
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
        cluster.close()


def make_pod(*command: str, name: str = "pod", env: list[Object] | None = None, grace: int = 30, **spec: Any) -> Object:
    """Return a pod; a single argument is a shell script."""
    words = list(command) if len(command) > 1 else ["sh", "-c", *command]
    container = {"name": "trainer", "image": "none", "command": words, "env": env or [], **spec.pop("container", {})}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", **spec.pop("metadata", {})},
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": grace,
            "containers": [container],
            **spec,
        },
    }


def make_claim(name: str, **metadata: Any) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": "default", **metadata},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }


def has_ended(pod: Object) -> bool:
    return pod["status"].get("phase") in ("Succeeded", "Failed")


def is_running(pod: Object) -> bool:
    return pod["status"].get("phase") == "Running"


def container_state(pod: Object) -> Mapping[str, Any]:
    state: Mapping[str, Any] = pod["status"]["containerStatuses"][0]["state"]
    return state


def find_processes_of(uid: str) -> list[psutil.Process]:
    """Return the living processes of a pod, its keeper among them."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get(POD_MARK_ENV) == uid and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


async def wait_until(holds: Callable[[], bool], *, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come to pass"
        await asyncio.sleep(0.02)


async def wait_until_nothing_is_left(uid: str, *, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while left := find_processes_of(uid):
        assert time.monotonic() < deadline, f"still alive: {left}"
        await asyncio.sleep(0.02)
