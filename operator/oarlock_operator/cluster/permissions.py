"""Asking the server at the start whether the operator may do all that it will have to.

A right that is missing is named then, and not in the middle of somebody's training.
"""

import asyncio
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from oarlock_api.v1alpha1 import GROUP
from oarlock_operator.cluster.connection import Connection
from oarlock_operator.errors import StartError
from oarlock_operator.manifests.pod_groups import PLURAL, GroupScheduler, find_group_scheduler
from oarlock_operator.settings import Settings

_LEASES = "coordination.k8s.io"
_PATH = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


@dataclass(frozen=True, slots=True)
class Right:
    """One thing that a service account may be allowed to do."""

    verb: str
    resource: str
    group: str = ""
    subresource: str = ""
    name: str = ""
    """Empty: all objects of the resource."""

    def __str__(self) -> str:
        resource = f"{self.resource}/{self.subresource}" if self.subresource else self.resource
        return f"{self.verb} {resource}{f'.{self.group}' if self.group else ''}{f' {self.name}' if self.name else ''}"


def needed_rights() -> Iterator[Right]:
    """Yield all rights without which the operator cannot work. Nodes and Events it can do without."""
    for resource in ("datasets", "trainingjobs"):
        yield from (Right(verb, resource, GROUP) for verb in ("get", "list", "watch"))
        yield Right("update", resource, GROUP, "status")
    # A finished job whose ttlSecondsAfterFinished is over.
    yield Right("delete", "trainingjobs", GROUP)
    # The finalizer that keeps data under a running job.
    yield Right("patch", "datasets", GROUP)
    for resource in ("pods", "services", "persistentvolumeclaims"):
        yield from (Right(verb, resource) for verb in ("get", "list", "watch", "create"))
    # Services and claims are never deleted: those that go with their job go by garbage collection.
    yield Right("delete", "pods")


def pod_group_rights(scheduler: GroupScheduler) -> Iterator[Right]:
    """Yield all rights that handing gangs over needs: a PodGroup goes with its attempt, and is never changed."""
    yield from (Right(verb, PLURAL, scheduler.group) for verb in ("get", "list", "watch", "create", "delete"))


def queue_rights(settings: Settings) -> Iterator[Right]:
    """Yield all rights without which a queue that was asked for would have to be off: nodes are what it gives out, or a budget."""
    if settings.queueing == "on" and not settings.queue_budget:
        yield from (Right(verb, "nodes") for verb in ("list", "watch"))


def lease_rights(name: str) -> Iterator[Right]:
    """Yield all rights that leading needs, in the namespace of the Lease: on that one alone, and to create it."""
    yield from (Right(verb, "leases", _LEASES, name=name) for verb in ("get", "list", "watch", "update"))
    yield Right("create", "leases", _LEASES)


async def check_permissions(connection: Connection, settings: Settings) -> None:
    """Make sure of all rights, in the namespace that is served or in all, and in the one of the Lease.

    Raises:
        StartError: naming every right that is missing.
        UnavailableError.
    """
    scheduler = find_group_scheduler(settings)
    handing_over = pod_group_rights(scheduler) if scheduler else ()
    await _check(connection, (*needed_rights(), *handing_over), namespace=settings.namespace)
    await _check(connection, queue_rights(settings), namespace="", instead="; or give the queue a budget")
    if settings.lease_namespace:
        await _check(connection, lease_rights(settings.lease_name), namespace=settings.lease_namespace)


async def _check(connection: Connection, rights: Iterable[Right], *, namespace: str, instead: str = "") -> None:
    rights = list(rights)
    answers = await asyncio.gather(*(_is_allowed(connection, right, namespace) for right in rights))
    missing = [str(right) for right, is_allowed in zip(rights, answers, strict=True) if not is_allowed]
    if missing:
        where = f"in namespace {namespace}" if namespace else "in all namespaces"
        raise StartError(
            f"the operator's account may not do this {where}: {', '.join(missing)}; "
            f"grant it by a Role or ClusterRole as charts/oarlock does, then start the operator again{instead}"
        )


async def _is_allowed(connection: Connection, right: Right, namespace: str) -> bool:
    attributes = {
        "namespace": namespace,
        "verb": right.verb,
        "group": right.group,
        "resource": right.resource,
        "subresource": right.subresource,
        "name": right.name,
    }
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    }
    answer = await connection.request("create", _PATH, resource="selfsubjectaccessreviews", body=review)
    return bool((answer.get("status") or {}).get("allowed"))
