"""The port over a Kubernetes API server."""

import logging
import time
from collections.abc import AsyncIterator, Mapping, Sequence

from oarlock_operator.cluster.agent_client import fetch_status
from oarlock_operator.cluster.connection import Connection
from oarlock_operator.cluster.event_notes import Repetitions, build_event, build_repetition
from oarlock_operator.cluster.port import AlreadyExistsError, ClusterError, NotFoundError, Object, WatchEvent
from oarlock_operator.cluster.resources import find_resources, leave_versions
from oarlock_operator.cluster.watches import follow, list_objects
from oarlock_operator.manifests.pod_groups import GroupScheduler
from oarlock_operator.reconcile.plans import EventNote, Reference

_log = logging.getLogger(__name__)

_EVENT_SECONDS = 5.0


class KubernetesCluster:
    """Implements `Cluster`; all methods belong to one event loop."""

    def __init__(self, connection: Connection, *, group_scheduler: GroupScheduler | None = None) -> None:
        self._connection, self._resources = connection, find_resources(group_scheduler)
        self._repetitions = Repetitions()

    async def close(self) -> None:
        await self._connection.close()

    async def get(self, reference: Reference) -> Object:
        return await self._ask("get", reference)

    async def list(
        self, kind: str, *, namespace: str | None = None, labels: Mapping[str, str] | None = None
    ) -> Sequence[Object]:
        listed, _ = await list_objects(self._connection, self._resources[kind], namespace=namespace, labels=labels)
        return listed

    async def list_versions(
        self, kind: str, *, namespace: str | None = None, labels: Mapping[str, str] | None = None
    ) -> Sequence[Object]:
        resource = leave_versions(self._resources[kind])
        listed, _ = await list_objects(self._connection, resource, namespace=namespace, labels=labels)
        return listed

    def watch(
        self, kind: str, *, namespace: str | None = None, labels: Mapping[str, str] | None = None
    ) -> AsyncIterator[WatchEvent]:
        return follow(self._connection, self._resources[kind], namespace=namespace, labels=labels)

    async def create(self, manifest: Object) -> Object:
        metadata = manifest["metadata"]
        reference = Reference(kind=manifest["kind"], namespace=metadata.get("namespace", ""), name=metadata["name"])
        resource = self._resources[reference.kind]
        path = resource.path(namespace=reference.namespace)
        return await self._connection.request(
            "create", path, resource=resource.plural, body=manifest, reference=reference
        )

    async def delete(self, reference: Reference, *, uid: str, grace_seconds: int | None = None) -> None:
        # In the background: what hangs on it goes after it, and the name is free at once.
        options = {"preconditions": {"uid": uid}, "propagationPolicy": "Background"}
        body = options if grace_seconds is None else {**options, "gracePeriodSeconds": grace_seconds}
        try:
            await self._ask("delete", reference, body=body)
        except NotFoundError:
            return

    async def write_status(self, reference: Reference, *, resource_version: str, status: Object) -> Object:
        resource = self._resources[reference.kind]
        metadata = {"name": reference.name, "namespace": reference.namespace, "resourceVersion": resource_version}
        body = {
            "apiVersion": resource.api_version,
            "kind": reference.kind,
            "metadata": metadata,
            "status": status,
        }
        return await self._ask("update", reference, subresource="status", body=body)

    async def write_finalizers(
        self, reference: Reference, *, resource_version: str, finalizers: Sequence[str]
    ) -> Object:
        body = {"metadata": {"resourceVersion": resource_version, "finalizers": [*finalizers]}}
        return await self._ask("patch", reference, body=body)

    async def serves(self, group: str) -> bool:
        try:
            await self._connection.request("get", f"/apis/{group}", resource="apigroups")
        except NotFoundError:
            return False
        return True

    async def record_event(self, reference: Reference, *, uid: str, note: EventNote) -> None:
        try:
            await self._record(build_event(reference, uid=uid, note=note, now=time.time()))
        except ClusterError as error:
            _log.warning("could not record the event %s: %s", note.reason, error)

    async def fetch_worker_status(self, pod: Object) -> bytes:
        return await fetch_status(pod)

    async def _ask(
        self, verb: str, reference: Reference, *, subresource: str = "", body: Object | None = None
    ) -> Object:
        resource = self._resources[reference.kind]
        path = resource.path(namespace=reference.namespace, name=reference.name, subresource=subresource)
        counted = f"{resource.plural}/{subresource}" if subresource else resource.plural
        return await self._connection.request(verb, path, resource=counted, body=body, reference=reference)

    async def _record(self, event: Object) -> None:
        resource, namespace, name = self._resources["Event"], event["metadata"]["namespace"], event["metadata"]["name"]
        count = self._repetitions.count(event)
        try:
            if count == 1:
                path = resource.path(namespace=namespace)
                await self._connection.request("create", path, resource="events", body=event, seconds=_EVENT_SECONDS)
                return
        except AlreadyExistsError:
            count = self._repetitions.count(event)  # an operator before this one has said it
        path = resource.path(namespace=namespace, name=name)
        patch = build_repetition(count, now=time.time())
        await self._connection.request("patch", path, resource="events", body=patch, seconds=_EVENT_SECONDS)
