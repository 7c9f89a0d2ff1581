"""What a process node needs of its cluster: as little as a kubelet.

The same node serves the local cluster and, in tests, a real API server.
"""

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from oarlock_operator.cluster.port import WatchEvent

Pod = dict[str, Any]


class NodePort(Protocol):
    """A cluster as one of its nodes sees it."""

    def watch_pods(self) -> AsyncIterator[WatchEvent]:
        """Follow the pods that are bound to this node: first a RELISTED event, then changes."""
        ...

    async def write_pod_status(self, pod: Pod, status: dict[str, Any]) -> None:
        """Write the status of the pod with this UID; a pod that is gone is no error."""
        ...

    async def finish_deletion(self, pod: Pod) -> None:
        """Remove a pod that was asked to go and of which nothing runs any more."""
        ...

    async def find_claim_folder(self, namespace: str, claim: str) -> Path | None:
        """Return the folder to which a claim is bound; None while it is not."""
        ...

    async def read_config_map(self, namespace: str, name: str) -> Mapping[str, str] | None:
        """Return the files of a ConfigMap; None while it is not there."""
        ...

    async def find_address(self, namespace: str, hostname: str, subdomain: str) -> str | None:
        """Return the address of the pod with this host name, as the cluster's DNS would; None while it has none."""
        ...
