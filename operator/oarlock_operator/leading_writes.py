"""The cluster as an operator sees that may have to stop at once: everybody reads, and who leads writes.

The check is made at each request, since leadership may be lost between any two of them. What is on its way then is made
harmless by what it carries: a resource version, a UID, or a name.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Protocol

from oarlock_operator.cluster.port import Cluster, Object, UnavailableError, WatchEvent
from oarlock_operator.reconcile.plans import EventNote, Reference


class NotLeadingError(UnavailableError):
    """Another operator writes."""

    def __init__(self, reference: Reference | None = None) -> None:
        super().__init__("another operator leads, or may by now", reference=reference)


class Leadership(Protocol):
    """Whether this operator may write."""

    def is_held(self) -> bool:
        """Say whether it may write now."""
        ...

    async def wait(self) -> None:
        """Wait until it may."""
        ...


class Alone:
    """Leadership where there is one operator only, as in the local cluster."""

    def is_held(self) -> bool:
        return True

    async def wait(self) -> None:
        return


class LeadersCluster:
    """Implements `Cluster` by another one, and refuses to write while somebody else may lead."""

    def __init__(self, cluster: Cluster, leadership: Leadership) -> None:
        self._cluster, self._leadership = cluster, leadership

    async def get(self, reference: Reference) -> Object:
        return await self._cluster.get(reference)

    async def list(
        self, kind: str, *, namespace: str | None = None, labels: Mapping[str, str] | None = None
    ) -> Sequence[Object]:
        return await self._cluster.list(kind, namespace=namespace, labels=labels)

    async def list_versions(
        self, kind: str, *, namespace: str | None = None, labels: Mapping[str, str] | None = None
    ) -> Sequence[Object]:
        return await self._cluster.list_versions(kind, namespace=namespace, labels=labels)

    def watch(
        self, kind: str, *, namespace: str | None = None, labels: Mapping[str, str] | None = None
    ) -> AsyncIterator[WatchEvent]:
        return self._cluster.watch(kind, namespace=namespace, labels=labels)

    async def fetch_worker_status(self, pod: Object) -> bytes:
        return await self._cluster.fetch_worker_status(pod)

    async def serves(self, group: str) -> bool:
        return await self._cluster.serves(group)

    async def create(self, manifest: Object) -> Object:
        metadata = manifest["metadata"]
        self._check(Reference(kind=manifest["kind"], namespace=metadata.get("namespace", ""), name=metadata["name"]))
        return await self._cluster.create(manifest)

    async def delete(self, reference: Reference, *, uid: str, grace_seconds: int | None = None) -> None:
        self._check(reference)
        await self._cluster.delete(reference, uid=uid, grace_seconds=grace_seconds)

    async def write_status(self, reference: Reference, *, resource_version: str, status: Object) -> Object:
        self._check(reference)
        return await self._cluster.write_status(reference, resource_version=resource_version, status=status)

    async def write_finalizers(
        self, reference: Reference, *, resource_version: str, finalizers: Sequence[str]
    ) -> Object:
        self._check(reference)
        return await self._cluster.write_finalizers(reference, resource_version=resource_version, finalizers=finalizers)

    async def record_event(self, reference: Reference, *, uid: str, note: EventNote) -> None:
        if self._leadership.is_held():
            await self._cluster.record_event(reference, uid=uid, note=note)

    def _check(self, reference: Reference) -> None:
        if not self._leadership.is_held():
            raise NotLeadingError(reference)
