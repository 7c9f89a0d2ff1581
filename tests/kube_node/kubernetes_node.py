"""A node of a real control plane that runs pods as processes of this machine: what kubelet and container runtime are elsewhere."""

import asyncio
import contextlib
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kube_node.folder_provisioner import FolderProvisioner
from kube_node.kubernetes_node_port import KubernetesNodePort
from kube_node.raw_api import RawApi, RefusedRequestError

from oarlock.local.machine import Machine, build_node
from oarlock.local.node import ProcessNode
from oarlock_api.contract import DEFAULT_STATUS_PORT

_LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
_HEARTBEAT_SECONDS = 2.0
_LEASE_SECONDS = 40

Object = dict[str, Any]


class KubernetesNode:
    """One node: registers itself, shows that it is alive, runs its pods, serves claims with folders."""

    def __init__(
        self,
        kubeconfig: Path,
        folder: Path,
        *,
        name: str = "process-node",
        cpus: int = 64,
        memory: int = 2**38,
        gpus: Sequence[str] = (),
        status_port: int = DEFAULT_STATUS_PORT,
        volumes: Path | None = None,
    ) -> None:
        """Make the node; `folder` is its own, `volumes` is where claims get their folders, shared by the nodes of a cluster."""
        self.name, self.folder = name, folder
        self._kubeconfig, self._status_port = kubeconfig, status_port
        self._machine = Machine(cpus=cpus, memory=memory, gpus=tuple(gpus))
        self._volumes = volumes or folder / "volumes"

    @property
    def logs(self) -> Path:
        """What pods printed: NAMESPACE/POD.log."""
        return self.folder / "logs"

    async def run(self, *, ready: asyncio.Event | None = None) -> None:
        """Be a node until cancelled; then all pods are killed and the node is taken out of the cluster."""
        api = await RawApi.open(self._kubeconfig)
        try:
            await self._register(api)
            if ready:
                ready.set()
            async with asyncio.TaskGroup() as group:
                group.create_task(self._show_life(api))
                group.create_task(FolderProvisioner(api, self._volumes).run())
                group.create_task(self._build_process_node(api).run())
        finally:
            with contextlib.suppress(RefusedRequestError):
                await api.ask("DELETE", f"/api/v1/nodes/{self.name}")
            await api.close()

    def _build_process_node(self, api: RawApi) -> ProcessNode:
        return ProcessNode(
            KubernetesNodePort(api, self.name),
            folder=self.folder / "pods",
            logs=self.logs,
            status_port=self._status_port,
            devices=self._machine.gpus,
        )

    async def _register(self, api: RawApi) -> None:
        node = build_node(self._machine, name=self.name, now=_now().timestamp())
        try:
            await api.ask("POST", "/api/v1/nodes", node)
        except RefusedRequestError as error:
            if error.status != 409:
                raise
        await api.ask("PATCH", f"/api/v1/nodes/{self.name}/status", {"status": node["status"]})

    async def _show_life(self, api: RawApi) -> None:
        while True:
            await self._renew_lease(api)
            node = build_node(self._machine, name=self.name, now=_now().timestamp())
            # A node that was thought dead says that it lives, and the controller manager takes its taints away.
            await api.ask("PATCH", f"/api/v1/nodes/{self.name}/status", {"status": node["status"]})
            await asyncio.sleep(_HEARTBEAT_SECONDS)

    async def _renew_lease(self, api: RawApi) -> None:
        spec = {
            "holderIdentity": self.name,
            "leaseDurationSeconds": _LEASE_SECONDS,
            "renewTime": _now().strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        }
        try:
            await api.ask("PATCH", f"{_LEASES}/{self.name}", {"spec": spec})
        except RefusedRequestError as error:
            if error.status != 404:
                raise
            with contextlib.suppress(RefusedRequestError):  # the namespace may not be there yet
                await api.ask("POST", _LEASES, {"metadata": {"name": self.name}, "spec": spec})


def _now() -> datetime:
    return datetime.now(tz=UTC)


@contextlib.asynccontextmanager
async def run_node(node: KubernetesNode) -> Any:
    """Let the node be there for as long as the block lasts."""
    ready = asyncio.Event()
    running = asyncio.create_task(node.run(ready=ready))
    waiting = asyncio.create_task(ready.wait())
    try:
        await asyncio.wait({running, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            running.result()
        yield node
        if running.done():
            running.result()
    finally:
        waiting.cancel()
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
