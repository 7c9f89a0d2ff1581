"""The clusters on which the conformance suite of the port runs, and what users and kubelets do to each of them."""

import asyncio
import contextlib
import json
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from fake_cluster import FakeCluster

from control_plane.server import ControlPlane
from oarlock.local.cluster import LocalCluster
from oarlock.local.machine import Machine
from oarlock_operator.cluster.connection import Connection
from oarlock_operator.cluster.kubernetes_cluster import KubernetesCluster
from oarlock_operator.cluster.port import Cluster, Object
from oarlock_operator.cluster.resources import RESOURCES
from oarlock_operator.reconcile.plans import Reference

UNKNOWN_FIELD = "unknownToTheSchema"


class Subject(ABC):
    """One cluster, one namespace of it, and the hands of others."""

    cluster: Cluster
    namespace: str
    others: str
    """Another namespace."""

    @abstractmethod
    async def edit_spec(self, reference: Reference, change: Callable[[Object], None]) -> None:
        """Change a spec as a user does."""

    @abstractmethod
    async def interrupt_watches(self) -> None:
        """Break all watches, so that they have to go on somehow."""

    @abstractmethod
    async def end_pod(self, reference: Reference, uid: str) -> None:
        """End a pod that is being deleted, as its kubelet does."""

    @abstractmethod
    async def read_events(self, reference: Reference) -> list[tuple[str, int]]:
        """Return reason and count of every Event about an object."""


class FakeSubject(Subject):
    def __init__(self) -> None:
        self.cluster = self._fake = FakeCluster()
        self._fake.drops = {UNKNOWN_FIELD}
        self.namespace, self.others = "team", "others"

    async def edit_spec(self, reference: Reference, change: Callable[[Object], None]) -> None:
        self._fake.edit(reference, lambda each: change(each["spec"]))

    async def interrupt_watches(self) -> None:
        self._fake.relist()

    async def end_pod(self, reference: Reference, uid: str) -> None:
        assert self._fake.objects[reference]["metadata"]["uid"] == uid
        self._fake.finish_pod(reference)

    async def read_events(self, reference: Reference) -> list[tuple[str, int]]:
        reasons = [note.reason for about, note in self._fake.notes if about == reference]
        return [(reason, reasons.count(reason)) for reason in dict.fromkeys(reasons)]


class LocalSubject(Subject):
    def __init__(self, folder: Path) -> None:
        self.cluster = self._local = LocalCluster(folder, machine=Machine(cpus=8, memory=2**36))
        self.namespace, self.others = "team", "others"

    def close(self) -> None:
        self._local.close()

    async def edit_spec(self, reference: Reference, change: Callable[[Object], None]) -> None:
        known = await self._local.get(reference)
        change(known["spec"])
        await self._local.apply(known)

    async def interrupt_watches(self) -> None:
        self._local.interrupt_watches()

    async def end_pod(self, reference: Reference, uid: str) -> None:
        await self._local.finish_pod_deletion(reference, uid=uid)

    async def read_events(self, reference: Reference) -> list[tuple[str, int]]:
        events = await self._local.list("Event", namespace=reference.namespace)
        return [(each["reason"], each["count"]) for each in events if _is_about(each, reference)]


class KubernetesSubject(Subject):
    def __init__(
        self, cluster: KubernetesCluster, control_plane: ControlPlane, network: Any, namespaces: list[str]
    ) -> None:
        self.cluster = cluster
        self._control_plane, self._network = control_plane, network
        self.namespace, self.others = namespaces

    async def edit_spec(self, reference: Reference, change: Callable[[Object], None]) -> None:
        def edit() -> None:
            path = _path(reference)
            known = self._control_plane.api.get(path)
            change(known["spec"])
            self._control_plane.api.patch(path, {"spec": known["spec"]})

        await asyncio.to_thread(edit)

    async def interrupt_watches(self) -> None:
        await asyncio.to_thread(self._network.drop_connections)

    async def end_pod(self, reference: Reference, uid: str) -> None:
        options = {"gracePeriodSeconds": 0, "preconditions": {"uid": uid}}
        await asyncio.to_thread(self._control_plane.api.ask, "DELETE", _path(reference), options)

    async def read_events(self, reference: Reference) -> list[tuple[str, int]]:
        path = f"/api/v1/namespaces/{reference.namespace}/events"
        answer = await asyncio.to_thread(self._control_plane.api.get, path)
        return [(each["reason"], each["count"]) for each in answer["items"] if _is_about(each, reference)]


@contextlib.asynccontextmanager
async def open_kubernetes(control_plane: ControlPlane, namespaces: list[str]) -> AsyncIterator[KubernetesSubject]:
    with control_plane.flaky_network() as (network, kubeconfig):
        connection = await Connection.open(environment={"KUBECONFIG": str(kubeconfig)})
        cluster = KubernetesCluster(connection)
        try:
            yield KubernetesSubject(cluster, control_plane, network, namespaces)
        finally:
            await cluster.close()


def _path(reference: Reference) -> str:
    return RESOURCES[reference.kind].path(namespace=reference.namespace, name=reference.name)


def _is_about(event: Object, reference: Reference) -> bool:
    about = event["involvedObject"]
    return (about["kind"], about["namespace"], about["name"]) == (reference.kind, reference.namespace, reference.name)


def describe(each: Object) -> str:
    return json.dumps(each, indent=1)
