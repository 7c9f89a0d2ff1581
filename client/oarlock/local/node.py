"""The process node: plays the kubelet, with processes of this machine in the place of containers.

It watches the pods that are bound to it and runs each in a task of its own. When it ends, in whatever way, so do they.
"""

import asyncio
import os
import shutil
import site
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from oarlock.local.addresses import AddressPool
from oarlock.local.devices import DevicePool
from oarlock.local.node_port import NodePort, Pod
from oarlock.local.pod_runner import NodeTools, PodRunner, pod_folder_name
from oarlock_operator.cluster.port import Change, WatchEvent

_NEVER_INHERITED = frozenset(
    {
        *("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_RANK", "MASTER_ADDR", "MASTER_PORT"),
        "KUBECONFIG",  # pods hold no credentials
    }
)
_NEVER_INHERITED_PREFIXES = ("OARLOCK_", "TORCHELASTIC_", "KUBERNETES_")


class ProcessNode:
    """Runs the pods that a cluster binds to it."""

    def __init__(
        self,
        port: NodePort,
        *,
        folder: Path,
        logs: Path,
        status_port: int,
        devices: Sequence[str] = (),
        environment: Mapping[str, str] = os.environ,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._tools = NodeTools(
            port=port,
            folder=folder.absolute(),
            logs=logs.absolute(),
            status_port=status_port,
            addresses=AddressPool(),
            devices=DevicePool(devices),
            environment=build_base_environment(environment),
            clock=clock,
        )
        self._runners: dict[str, PodRunner] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Run pods until cancelled; then end all of them at once.

        Raises:
            Exception: whatever the port raises; a pod's own troubles go into its status.
        """
        watching = asyncio.create_task(self._watch())
        try:
            while True:
                await asyncio.wait({watching, *self._tasks.values()}, return_when=asyncio.FIRST_COMPLETED, timeout=1)
                self._forget_finished()
                if watching.done():
                    watching.result()
        finally:
            watching.cancel()
            await self._end_all()

    async def _watch(self) -> None:
        async for event in self._tools.port.watch_pods():
            self._observe(event)

    def _observe(self, event: WatchEvent) -> None:
        if event.change is Change.RELISTED:
            self._compare(event.listed)
        elif event.object is None:
            return
        elif event.change is Change.DELETED:
            self._forget(event.object["metadata"]["uid"])
        else:
            self._take(event.object)

    def _compare(self, pods: Sequence[Pod]) -> None:
        for uid in self._runners.keys() - {pod["metadata"]["uid"] for pod in pods}:
            self._forget(uid)
        if not self._runners:
            self._remove_leftovers(pods)
        for pod in pods:
            self._take(pod)

    def _remove_leftovers(self, pods: Sequence[Pod]) -> None:
        """Remove the folders of pods that were deleted while a node before this one could not do it."""
        kept = {pod_folder_name(pod) for pod in pods}
        for folder in self._tools.folder.glob("pod-*"):
            if folder.name not in kept:
                shutil.rmtree(folder, ignore_errors=True)

    def _take(self, pod: Pod) -> None:
        uid = pod["metadata"]["uid"]
        if uid in self._runners:
            self._runners[uid].observe(pod)
            return
        self._runners[uid] = PodRunner(pod, self._tools)
        self._tasks[uid] = asyncio.create_task(self._runners[uid].run())

    def _forget(self, uid: str) -> None:
        if uid in self._runners:
            self._runners[uid].vanish()

    def _forget_finished(self) -> None:
        for uid, task in list(self._tasks.items()):
            if task.done():
                del self._tasks[uid], self._runners[uid]
                task.result()

    async def _end_all(self) -> None:
        """End all pods; whoever cancels this meanwhile waits for them too, which is a moment."""
        for task in self._tasks.values():
            task.cancel()
        # What one of them fails of keeps none of the others from its end.
        ending = asyncio.gather(*self._tasks.values(), return_exceptions=True)
        cancelled: asyncio.CancelledError | None = None
        while not ending.done():
            try:
                await asyncio.wait({ending})
            except asyncio.CancelledError as error:
                cancelled = error
        if cancelled:
            raise cancelled


def build_base_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what pods inherit of this process's variables: all but those that speak of another run or cluster."""
    kept = {
        name: value
        for name, value in environment.items()
        if name not in _NEVER_INHERITED and not name.startswith(_NEVER_INHERITED_PREFIXES)
    }
    return {
        **kept,
        # Programs that a pod starts by the name `python` get this installation too,
        "PATH": os.pathsep.join((str(Path(sys.executable).parent), kept.get("PATH", os.defpath))),
        # and what was installed for the user alone is found though HOME is the pod's.
        "PYTHONUSERBASE": site.getuserbase(),
    }
