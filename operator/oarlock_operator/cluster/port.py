"""The port to a cluster: what the controller needs of one, and how it fails.

`KubernetesCluster` talks to an API server; the local cluster of the client keeps objects on disk and runs pods as processes. One
conformance suite runs on both. Objects are plain dictionaries as in the Kubernetes API.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from oarlock_operator.reconcile.plans import EventNote, Reference

Object = dict[str, Any]


class ClusterError(Exception):
    """An operation on the cluster failed."""

    def __init__(self, message: str, *, reference: Reference | None = None, status: int = 0) -> None:
        where = f" ({reference.kind} {reference.namespace}/{reference.name})" if reference else ""
        super().__init__(message + where)
        self.reference = reference
        self.status = status


class NotFoundError(ClusterError):
    """The object is not there."""


class AlreadyExistsError(ClusterError):
    """An object of that name is there, perhaps one that is being deleted."""


class ConflictError(ClusterError):
    """The object changed since it was read, or its UID is another."""


class RefusedError(ClusterError):
    """The server understood and refuses: invalid, forbidden, over quota, denied by a webhook. Trying again at once is useless."""


class UnavailableError(ClusterError):
    """The server did not answer, or asked to come back later."""

    def __init__(
        self, message: str, *, reference: Reference | None = None, status: int = 0, retry_after: float = 0.0
    ) -> None:
        super().__init__(message, reference=reference, status=status)
        self.retry_after = retry_after
        """Seconds that the server asked to wait."""


class Change(StrEnum):
    """What happened to an object."""

    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"
    RELISTED = "RELISTED"
    """The watch began anew: `WatchEvent.listed` holds all objects there are; what is not among them is gone."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WatchEvent:
    """One event of a watch."""

    change: Change
    object: Object | None = None
    listed: tuple[Object, ...] = ()


def keep_version(raw: Object) -> Object:
    """Return what tells one version of an object from another."""
    kept = ("namespace", "name", "uid", "resourceVersion")
    return {"metadata": {name: raw["metadata"][name] for name in kept if name in raw["metadata"]}}


class Cluster(Protocol):
    """A cluster. Kinds: Dataset, TrainingJob, Pod, Service, PersistentVolumeClaim, Node, Event.

    One that gangs are handed over to has PodGroup as well: a request for it ends with NotFoundError while it is not installed.
    """

    async def get(self, reference: Reference) -> Object:
        """Read one object, past every cache.

        Raises:
            NotFoundError, UnavailableError.
        """
        ...

    async def list(
        self, kind: str, *, namespace: str | None = None, labels: Mapping[str, str] | None = None
    ) -> Sequence[Object]:
        """Read all objects of a kind, page by page."""
        ...

    async def list_versions(
        self, kind: str, *, namespace: str | None = None, labels: Mapping[str, str] | None = None
    ) -> Sequence[Object]:
        """Read which objects of a kind there are: of each its namespace, name, uid and resourceVersion, and nothing else."""
        ...

    def watch(
        self, kind: str, *, namespace: str | None = None, labels: Mapping[str, str] | None = None
    ) -> AsyncIterator[WatchEvent]:
        """Follow a kind for ever: first a RELISTED event, then changes; after a lost connection RELISTED again if need be."""
        ...

    async def create(self, manifest: Object) -> Object:
        """Create an object; what comes back has a UID.

        Raises:
            AlreadyExistsError, RefusedError, UnavailableError.
        """
        ...

    async def delete(self, reference: Reference, *, uid: str, grace_seconds: int | None = None) -> None:
        """Ask for the deletion of the object with this UID. An object that is gone already is no error.

        Raises:
            ConflictError: if the object of that name has another UID.
            UnavailableError.
        """
        ...

    async def write_status(self, reference: Reference, *, resource_version: str, status: Object) -> Object:
        """Replace the status as planned from `resource_version`; return the object as stored.

        Raises:
            ConflictError: if the object changed since; observe and plan again.
            NotFoundError, RefusedError, UnavailableError.
        """
        ...

    async def write_finalizers(
        self, reference: Reference, *, resource_version: str, finalizers: Sequence[str]
    ) -> Object:
        """Replace the finalizers as planned from `resource_version`. Raises as `write_status`."""
        ...

    async def serves(self, group: str) -> bool:
        """Say whether the cluster serves an API group: whether some other project is installed.

        Raises:
            UnavailableError.
        """
        ...

    async def record_event(self, reference: Reference, *, uid: str, note: EventNote) -> None:
        """Tell people what happened; best effort, never raises."""
        ...

    async def fetch_worker_status(self, pod: Object) -> bytes:
        """Ask a pod's agent for its status: 1 s, at most `MAX_STATUS_BYTES`, no redirects. The answer is untrusted.

        Raises:
            UnavailableError.
        """
        ...
