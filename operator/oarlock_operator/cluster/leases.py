"""One Lease of `coordination.k8s.io` on an API server: the only object of its own that the operator writes."""

from collections.abc import AsyncIterator

from oarlock_operator.cluster.connection import Connection
from oarlock_operator.cluster.port import Change, NotFoundError, Object
from oarlock_operator.cluster.resources import Resource
from oarlock_operator.cluster.watches import follow
from oarlock_operator.leading import LEASE_SECONDS, Lease
from oarlock_operator.names import MANAGED_BY, MANAGED_BY_LABEL
from oarlock_operator.reconcile.plans import Reference

_SECONDS = 2.0


class KubernetesLease:
    """Implements `LeasePort`; all methods belong to one event loop."""

    def __init__(self, connection: Connection, *, namespace: str, name: str) -> None:
        self._connection = connection
        self._reference = Reference(kind="Lease", namespace=namespace, name=name)
        # To be told of one object only is all that the operator's Role allows.
        self._resource = Resource(
            kind="Lease", group="coordination.k8s.io", plural="leases", field_selector=f"metadata.name={name}"
        )

    async def read(self) -> Lease | None:
        try:
            return parse_lease(await self._ask("get", name=self._reference.name))
        except NotFoundError:
            return None

    async def create(self, lease: Lease) -> Lease:
        return parse_lease(await self._ask("create", body=self._build(lease)))

    async def replace(self, lease: Lease) -> Lease:
        return parse_lease(await self._ask("update", name=self._reference.name, body=self._build(lease)))

    async def watch(self) -> AsyncIterator[Lease | None]:
        events = follow(self._connection, self._resource, namespace=self._reference.namespace, labels=None)
        async for event in events:
            if event.change is Change.RELISTED:
                yield next((parse_lease(listed) for listed in event.listed), None)
            else:
                is_gone = event.change is Change.DELETED or event.object is None
                yield None if is_gone or event.object is None else parse_lease(event.object)

    async def _ask(self, verb: str, *, name: str = "", body: Object | None = None) -> Object:
        path = self._resource.path(namespace=self._reference.namespace, name=name)
        return await self._connection.request(
            verb, path, resource="leases", body=body, reference=self._reference, seconds=_SECONDS
        )

    def _build(self, lease: Lease) -> Object:
        metadata = {"name": self._reference.name, "namespace": self._reference.namespace}
        spec = {
            "holderIdentity": lease.holder,
            "leaseDurationSeconds": lease.seconds,
            "acquireTime": lease.acquired,
            "renewTime": lease.renewed,
            "leaseTransitions": lease.transitions,
        }
        return {
            "apiVersion": self._resource.api_version,
            "kind": "Lease",
            "metadata": {
                **metadata,
                "labels": {MANAGED_BY_LABEL: MANAGED_BY},
                **({"resourceVersion": lease.version} if lease.version else {}),
            },
            "spec": {name: value for name, value in spec.items() if value != ""},
        }


def parse_lease(raw: Object) -> Lease:
    """Return what matters of a Lease, whoever wrote it."""
    spec = raw.get("spec") or {}
    return Lease(
        version=str(raw["metadata"].get("resourceVersion") or ""),
        holder=str(spec.get("holderIdentity") or ""),
        seconds=int(spec.get("leaseDurationSeconds") or LEASE_SECONDS),
        acquired=str(spec.get("acquireTime") or ""),
        renewed=str(spec.get("renewTime") or ""),
        transitions=int(spec.get("leaseTransitions") or 0),
    )
