"""The local cluster as its process node sees it."""

from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from oarlock.local.cluster import LocalCluster
from oarlock.local.machine import NODE_NAME
from oarlock.local.node_port import Pod
from oarlock_operator.cluster.port import Change, WatchEvent
from oarlock_operator.reconcile.plans import Reference


class LocalNodePort:
    """Implements `NodePort` on a `LocalCluster`."""

    def __init__(self, cluster: LocalCluster) -> None:
        self._cluster = cluster

    async def watch_pods(self) -> AsyncIterator[WatchEvent]:
        async for event in self._cluster.watch("Pod"):
            if event.change is Change.RELISTED:
                yield WatchEvent(change=event.change, listed=tuple(filter(_is_bound, event.listed)))
            elif event.object is not None and _is_bound(event.object):
                yield event

    async def write_pod_status(self, pod: Pod, status: Pod) -> None:
        await self._cluster.write_pod_status(pod, status)

    async def finish_deletion(self, pod: Pod) -> None:
        metadata = pod["metadata"]
        reference = Reference(kind="Pod", namespace=metadata["namespace"], name=metadata["name"])
        await self._cluster.finish_pod_deletion(reference, uid=metadata["uid"])

    async def find_claim_folder(self, namespace: str, claim: str) -> Path | None:
        return self._cluster.find_claim_folder(namespace, claim)

    async def read_config_map(self, namespace: str, name: str) -> Mapping[str, str] | None:
        found = self._cluster.find(Reference(kind="ConfigMap", namespace=namespace, name=name))
        return None if found is None else found.get("data") or {}

    async def find_address(self, namespace: str, hostname: str, subdomain: str) -> str | None:
        for pod in await self._cluster.list("Pod", namespace=namespace):
            if (pod["spec"].get("hostname"), pod["spec"].get("subdomain")) == (hostname, subdomain):
                return str(pod.get("status", {}).get("podIP", "")) or None
        return None


def _is_bound(pod: Pod) -> bool:
    return bool(pod["spec"].get("nodeName") == NODE_NAME)
