"""A real API server as the process node sees it: pods by their binding, statuses, deletions, claims through their volumes."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from kube_node.raw_api import RawApi, RefusedRequestError

from oarlock_operator.cluster.port import Change, WatchEvent

Pod = dict[str, Any]

_GONE_OR_ANOTHER = frozenset({404, 409})


class KubernetesNodePort:
    """Implements `oarlock.local.node_port.NodePort`."""

    def __init__(self, api: RawApi, node: str) -> None:
        self._api, self._node = api, node

    async def watch_pods(self) -> AsyncIterator[WatchEvent]:
        async for kind, found in self._api.watch("/api/v1/pods", fieldSelector=f"spec.nodeName={self._node}"):
            if kind == "LISTED":
                yield WatchEvent(change=Change.RELISTED, listed=tuple(found))
            elif kind in ("ADDED", "MODIFIED", "DELETED"):
                yield WatchEvent(change=Change(kind), object=found)

    async def write_pod_status(self, pod: Pod, status: dict[str, Any]) -> None:
        await self._ask_about(pod, "PATCH", "/status", {"metadata": {"uid": pod["metadata"]["uid"]}, "status": status})

    async def finish_deletion(self, pod: Pod) -> None:
        body = {"gracePeriodSeconds": 0, "preconditions": {"uid": pod["metadata"]["uid"]}}
        await self._ask_about(pod, "DELETE", "", body)

    async def find_claim_folder(self, namespace: str, claim: str) -> Path | None:
        found = await self._api.find(f"/api/v1/namespaces/{namespace}/persistentvolumeclaims/{claim}")
        if found is None or found["status"].get("phase") != "Bound":
            return None
        volume = await self._api.ask("GET", f"/api/v1/persistentvolumes/{found['spec']['volumeName']}")
        folder = Path(volume["spec"]["hostPath"]["path"])
        await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
        return folder

    async def read_config_map(self, namespace: str, name: str) -> Mapping[str, str] | None:
        found = await self._api.find(f"/api/v1/namespaces/{namespace}/configmaps/{name}")
        return None if found is None else found.get("data") or {}

    async def find_address(self, namespace: str, hostname: str, subdomain: str) -> str | None:
        pods = await self._api.ask("GET", f"/api/v1/namespaces/{namespace}/pods")
        for pod in pods["items"]:
            if (pod["spec"].get("hostname"), pod["spec"].get("subdomain")) == (hostname, subdomain):
                return str(pod["status"].get("podIP", "")) or None
        return None

    async def _ask_about(self, pod: Pod, method: str, subresource: str, body: Any) -> None:
        metadata = pod["metadata"]
        path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}{subresource}"
        try:
            await self._api.ask(method, path, body)
        except RefusedRequestError as error:
            if error.status not in _GONE_OR_ANOTHER:
                raise
