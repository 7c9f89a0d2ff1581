"""A node that runs nothing: it binds every pod to itself and moves phases, in a process whose cost is measured apart.

`python fake_node.py KUBECONFIG FOLDER`. Imports end well at once. Pods begin to run after SIGUSR1 and end well after SIGUSR2,
so that a burst of creations has the machine to itself; those that are seen after SIGUSR2 wait for the next SIGUSR1.
"""

import asyncio
import contextlib
import signal
import sys
from pathlib import Path
from typing import Any

from kube.scene import make_facts
from kube_node.kubernetes_node import KubernetesNode
from kube_node.raw_api import RawApi, RefusedRequestError

from oarlock_api.contract import TerminationRecord
from oarlock_operator import names

Object = dict[str, Any]

NAME = "fake-node"
AT_ONCE = 24
READY = "fake-node-is-ready"
"""A file in its folder, from when on it understands signals."""


class FakeNode(KubernetesNode):
    """Plays the kubelet and the scheduler for all pods of a cluster."""

    def __init__(self, kubeconfig: Path, folder: Path) -> None:
        super().__init__(kubeconfig, folder, name=NAME, cpus=100_000, memory=2**50)
        self.runs, self.ends = asyncio.Event(), asyncio.Event()

    async def run(self, *, ready: asyncio.Event | None = None) -> None:  # noqa: ARG002
        api = await RawApi.open(self._kubeconfig)
        await self._register(api)
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGUSR1, self.run_all)
        loop.add_signal_handler(signal.SIGUSR2, self.end_all)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._show_life(api))
            group.create_task(self._take_pods(api, group))
            (self.folder / READY).touch()

    def run_all(self) -> None:
        """Run the pods that are there, and those that come, until `end_all`."""
        self.runs.set()

    def end_all(self) -> None:
        """End the pods that were seen so far, and have later ones wait anew."""
        self.ends.set()
        self.runs, self.ends = asyncio.Event(), asyncio.Event()

    async def _take_pods(self, api: RawApi, group: asyncio.TaskGroup) -> None:
        seen: set[str] = set()
        slots = asyncio.Semaphore(AT_ONCE)
        async for change, what in api.watch("/api/v1/pods", fieldSelector="status.phase=Pending"):
            for pod in what if change == "LISTED" else [what]:
                if change != "DELETED" and pod["metadata"]["uid"] not in seen:
                    seen.add(pod["metadata"]["uid"])
                    group.create_task(self._live(api, Shown(pod), slots))

    async def _live(self, api: RawApi, pod: "Shown", slots: asyncio.Semaphore) -> None:
        """Take one pod through its phases."""
        runs, ends = self.runs, self.ends
        try:
            if not pod.is_import:
                await runs.wait()
            async with slots:
                target = {"target": {"apiVersion": "v1", "kind": "Node", "name": NAME}, "metadata": {"name": pod.name}}
                with contextlib.suppress(RefusedRequestError):  # bound already, by a request whose answer did not come
                    await api.ask("POST", f"{pod.path}/binding", target)
                await api.ask("PATCH", f"{pod.path}/status", {"status": pod.build_running()})
            if not pod.is_import:
                await ends.wait()
            async with slots:
                await api.ask("PATCH", f"{pod.path}/status", {"status": pod.build_ended()})
        except RefusedRequestError as error:
            if error.status != 404:  # somebody deleted it
                raise


class Shown:
    """As little of a pod as it takes."""

    def __init__(self, raw: Object) -> None:
        metadata = raw["metadata"]
        self.name = metadata["name"]
        self.path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{self.name}"
        self.labels = metadata.get("labels") or {}
        self.is_import = self.labels.get(names.ROLE_LABEL) == names.IMPORT_ROLE
        self.owner = metadata["ownerReferences"][0]["uid"]
        self.run_hash = (metadata.get("annotations") or {}).get(names.RUN_HASH_ANNOTATION, "")
        self.created = metadata["creationTimestamp"]
        self.facts = make_facts(raw) if self.is_import else None

    def build_running(self) -> Object:
        return {"phase": "Running", "containerStatuses": [_container({"running": {"startedAt": self.created}})]}

    def build_ended(self) -> Object:
        ended: Object = {"exitCode": 0, "reason": "Completed", "finishedAt": self.created}
        if self.run_hash:
            record = TerminationRecord(
                job_uid=self.owner,
                run_hash=self.run_hash,
                attempt=int(self.labels[names.ATTEMPT_LABEL]),
                node=int(self.labels[names.RANK_LABEL]),
                outcome="Succeeded",
                **({"dataset": self.facts} if self.facts else {"step": 120, "steps": 120, "epoch": 2.0}),
            )
            ended["message"] = record.to_json()
        return {"phase": "Succeeded", "containerStatuses": [_container({"terminated": ended})]}


def _container(state: Object) -> Object:
    fields = {"image": "none", "imageID": "", "ready": True, "restartCount": 0}
    return {"name": names.TRAINER_CONTAINER, **fields, "state": state}


if __name__ == "__main__":
    asyncio.run(FakeNode(Path(sys.argv[1]), Path(sys.argv[2])).run())
