"""What the tests of the port create, and how they wait for it, on every cluster alike."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

from conformance.subjects import Subject

from oarlock_operator import names
from oarlock_operator.cluster.port import NotFoundError, Object, WatchEvent
from oarlock_operator.reconcile.plans import Reference

OURS = {names.MANAGED_BY_LABEL: names.MANAGED_BY}
_PATIENCE = 20.0


def make_job(subject: Subject, name: str = "lenet") -> Object:
    spec = {"dataset": {"name": "digits"}, "model": {"name": "lenet"}}
    metadata = {"name": name, "namespace": subject.namespace}
    return {"apiVersion": "oarlock.dev/v1alpha1", "kind": "TrainingJob", "metadata": metadata, "spec": spec}


def make_pod(subject: Subject, name: str = "pod", *, node: str = "", owner: Object | None = None) -> Object:
    metadata: Object = {"name": name, "namespace": subject.namespace, "labels": {**OURS}}
    spec: Object = {"containers": [{"name": "trainer", "image": "none"}], "terminationGracePeriodSeconds": 60}
    if node:
        spec["nodeName"] = node
    if owner:
        metadata["ownerReferences"] = [refer_owner(owner)]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def make_claim(subject: Subject, name: str = "claim") -> Object:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    metadata = {"name": name, "namespace": subject.namespace, "labels": {**OURS}}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec}


def make_service(subject: Subject, *, owner: Object) -> Object:
    spec = {"clusterIP": "None", "selector": {names.UID_LABEL: "x"}, "ports": [{"port": 29400}]}
    metadata = {"name": "svc", "namespace": subject.namespace, "ownerReferences": [refer_owner(owner)]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}


def refer_owner(owner: Object) -> Object:
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": False,
    }


def refer(each: Object) -> Reference:
    return Reference(kind=each["kind"], namespace=each["metadata"]["namespace"], name=each["metadata"]["name"])


def version(each: Object) -> str:
    return str(each["metadata"]["resourceVersion"])


async def delete(subject: Subject, each: Object, **options: Any) -> None:
    await subject.cluster.delete(refer(each), uid=each["metadata"]["uid"], **options)


async def wait_until_gone(subject: Subject, *references: Reference) -> None:
    async with asyncio.timeout(_PATIENCE):
        for reference in references:
            while True:
                try:
                    await subject.cluster.get(reference)
                except NotFoundError:
                    break
                await asyncio.sleep(0.1)


class Watch:
    """Reads a watch event by event."""

    def __init__(self, events: AsyncIterator[WatchEvent]) -> None:
        self._events = events

    async def next(self) -> WatchEvent:
        async with asyncio.timeout(_PATIENCE):
            return await anext(self._events)

    async def until(self, holds: Callable[[WatchEvent], bool]) -> WatchEvent:
        while True:
            event = await self.next()
            if holds(event):
                return event
