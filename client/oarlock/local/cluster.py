"""The local cluster: what an API server and its controllers do for Oarlock, in one process, with objects on disk.

It implements the operator's port, so that the operator's planning runs on it unchanged, and keeps to the semantics of
Kubernetes on which that planning relies: UIDs, resource versions, graceful deletion, finalizers, owners, bound claims.
All methods belong to one event loop.
"""

import asyncio
import contextlib
import copy
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from oarlock.local.events import MAX_EVENTS, build_event, count_again
from oarlock.local.garbage import PROTECTION_FINALIZER, find_orphans, find_released_claims
from oarlock.local.machine import NODE_NAME, Machine, build_node
from oarlock.local.object_store import Object, ObjectStore, is_name, reference_to
from oarlock.local.pod_status import build_scheduled_status, build_unschedulable_status, format_time
from oarlock.local.scheduling import find_shortage
from oarlock.local.schemas import CUSTOM_KINDS, admit, find_refusals
from oarlock.local.volumes import Volumes, build_bound_status
from oarlock.local.watching import BACKLOG, Selection, WatchHub
from oarlock.local.worker_status import NoAnswerError, fetch_status
from oarlock_api.contract import DEFAULT_STATUS_PORT
from oarlock_operator.cluster.port import (
    AlreadyExistsError,
    Change,
    ConflictError,
    NotFoundError,
    RefusedError,
    UnavailableError,
    WatchEvent,
    keep_version,
)
from oarlock_operator.reconcile.plans import EventNote, Reference

_DEFAULT_GRACE_SECONDS = 30
_ENDED = ("Succeeded", "Failed")


class LocalCluster:
    """A cluster of one node, on disk under `folder`; owned by one process at a time."""

    def __init__(
        self, folder: Path, *, machine: Machine, clock: Callable[[], float] = time.time, backlog: int = BACKLOG
    ) -> None:
        """Open the cluster, or begin it.

        Raises:
            StoreInUseError, DamagedStoreError.
        """
        folder = folder.absolute()
        self._clock = clock
        self._store = ObjectStore(folder / ".cluster")
        self._hub = WatchHub(backlog=backlog)
        self._volumes = Volumes(folder / "volumes")
        self.failure: OSError | None = None
        """Why nothing can be written any more."""
        self._register_node(machine)
        self._settle()

    def close(self) -> None:
        self._store.close()

    # The port of the operator.

    async def get(self, reference: Reference) -> Object:
        await asyncio.sleep(0)
        return self._require(reference)

    async def list(
        self, kind: str, *, namespace: str | None = None, labels: Mapping[str, str] | None = None
    ) -> Sequence[Object]:
        await asyncio.sleep(0)
        selection = Selection(kind=kind, namespace=namespace, labels=labels or {})
        return [copy.deepcopy(item) for item in self._store.peek(kind) if selection.matches(item)]

    async def list_versions(
        self, kind: str, *, namespace: str | None = None, labels: Mapping[str, str] | None = None
    ) -> Sequence[Object]:
        listed = await self.list(kind, namespace=namespace, labels=labels)
        return [keep_version(item) for item in listed]

    def watch(
        self, kind: str, *, namespace: str | None = None, labels: Mapping[str, str] | None = None
    ) -> AsyncIterator[WatchEvent]:
        selection = Selection(kind=kind, namespace=namespace, labels=labels or {})
        return self._hub.follow(selection, lambda: self._store.list(kind))

    async def create(self, manifest: Object) -> Object:
        await asyncio.sleep(0)
        item = _prepare(manifest)
        reference = reference_to(item)
        _refuse_if_any(find_refusals(item), reference)
        if self._store.get(reference) is not None:
            raise AlreadyExistsError("an object of that name exists", reference=reference, status=409)
        item["metadata"] |= {
            "uid": str(uuid.uuid4()),
            "creationTimestamp": format_time(self._clock()),
            "generation": 1,
        }
        stored = self._put(item)
        self._hub.publish(Change.ADDED, stored)
        self._settle()
        return stored

    async def apply(self, manifest: Object) -> Object:
        """Create an object, or give the one that is there this spec, these labels and annotations, as `kubectl apply` does."""
        item = _prepare(manifest)
        reference = reference_to(item)
        known = self._store.get(reference)
        if known is None:
            return await self.create(manifest)
        _refuse_if_any(find_refusals(item), reference)
        metadata = {**known["metadata"]}
        for field in ("labels", "annotations"):
            metadata[field] = {**(metadata.get(field) or {}), **(item["metadata"].get(field) or {})}
        if item.get("spec") != known.get("spec"):
            metadata["generation"] += 1
        data = {"data": item["data"]} if "data" in item else {}
        return self._update({**known, "metadata": metadata, "spec": item.get("spec", {}), **data})

    async def delete(self, reference: Reference, *, uid: str, grace_seconds: int | None = None) -> None:
        await asyncio.sleep(0)
        known = self._store.get(reference)
        if known is None:
            return
        if known["metadata"]["uid"] != uid:
            raise ConflictError("the object of that name is another one", reference=reference, status=409)
        self._request_deletion(known, grace_seconds)
        self._settle()

    async def write_status(self, reference: Reference, *, resource_version: str, status: Object) -> Object:
        await asyncio.sleep(0)
        known = self._require(reference, resource_version=resource_version)
        item = {**known, "status": copy.deepcopy(status)}
        if item["kind"] in CUSTOM_KINDS:
            item = admit(item)
        _refuse_if_any(find_refusals(item), reference)
        return self._update(item)

    async def write_finalizers(
        self, reference: Reference, *, resource_version: str, finalizers: Sequence[str]
    ) -> Object:
        await asyncio.sleep(0)
        known = self._require(reference, resource_version=resource_version)
        stored = self._write_finalizers(known, finalizers)
        self._settle()
        return stored

    async def serves(self, group: str) -> bool:  # noqa: ARG002
        """Say that every group is served: a queue that a job names is nobody's here, and its pods run at once."""
        return True

    async def record_event(self, reference: Reference, *, uid: str, note: EventNote) -> None:
        await asyncio.sleep(0)
        event = build_event(reference, uid=uid, note=note, now=self._clock())
        known = self._store.get(reference_to(event))
        if known is not None:
            self._update(count_again(known, now=self._clock()))
            return
        self._hub.publish(Change.ADDED, self._put(event))
        events = sorted(self._store.peek("Event"), key=lambda item: int(item["metadata"]["resourceVersion"]))
        for old in events[:-MAX_EVENTS]:
            self._remove(old)

    async def fetch_worker_status(self, pod: Object) -> bytes:
        address = pod.get("status", {}).get("podIP", "")
        if not address:
            raise UnavailableError("the pod has no address yet", reference=reference_to(pod))
        try:
            return await fetch_status(address, find_status_port(pod))
        except NoAnswerError as error:
            raise UnavailableError(str(error), reference=reference_to(pod)) from None

    # What the node needs beyond that.

    async def write_pod_status(self, pod: Object, status: Object) -> None:
        """Write the status of a pod, whatever its version; one that is gone, or another of its name, is left alone."""
        await asyncio.sleep(0)
        known = self._store.get(reference_to(pod))
        if known is not None and known["metadata"]["uid"] == pod["metadata"]["uid"]:
            self._update({**known, "status": copy.deepcopy(status)})
            if status.get("phase") in _ENDED:
                self._settle()

    async def finish_pod_deletion(self, reference: Reference, *, uid: str) -> None:
        """Remove a pod of which nothing runs any more; one that is gone, or another of its name, is left alone."""
        with contextlib.suppress(ConflictError):
            await self.delete(reference, uid=uid, grace_seconds=0)

    def find(self, reference: Reference) -> Object | None:
        """Return an object as it is now; None if it is not there."""
        return self._store.get(reference)

    def find_claim_folder(self, namespace: str, claim: str) -> Path | None:
        """Return the folder behind a claim; None while it is not bound."""
        reference = Reference(kind="PersistentVolumeClaim", namespace=namespace, name=claim)
        known = self._store.get(reference)
        bound = known is not None and known.get("status", {}).get("phase") == "Bound"
        return self._volumes.find(known) if known is not None and bound else None

    def interrupt_watches(self) -> None:
        """Let every watch list anew, as after a lost connection."""
        self._hub.interrupt()

    # Writing.

    def _require(self, reference: Reference, *, resource_version: str | None = None) -> Object:
        known = self._store.get(reference)
        if known is None:
            raise NotFoundError("there is no such object", reference=reference, status=404)
        if resource_version is not None and known["metadata"]["resourceVersion"] != resource_version:
            raise ConflictError("the object changed since it was read", reference=reference, status=409)
        return known

    def _put(self, item: Object) -> Object:
        with self._noting_failure(reference_to(item)):
            return self._store.put(item)

    @contextlib.contextmanager
    def _noting_failure(self, reference: Reference) -> Iterator[None]:
        """Be to everybody a server that does not answer, while the disk takes nothing; `failure` tells the owner why."""
        try:
            yield
        except OSError as error:
            self.failure = error
            raise UnavailableError(f"cannot be written: {error.strerror}", reference=reference) from error

    def _update(self, item: Object) -> Object:
        """Write a new version of an object; an equal one is not a new version."""
        known = self._store.get(reference_to(item))
        if known is not None and _without_version(item) == _without_version(known):
            return known
        stored = self._put(item)
        self._hub.publish(Change.MODIFIED, stored, before=known)
        return stored

    def _write_finalizers(self, known: Object, finalizers: Sequence[str]) -> Object:
        item = {**known, "metadata": {**known["metadata"], "finalizers": list(finalizers)}}
        if not finalizers and item["metadata"].get("deletionTimestamp"):
            return self._remove(item)
        return self._update(item)

    def _request_deletion(self, known: Object, grace_seconds: int | None) -> None:
        """Remove an object at once, or mark it as Terminating while a node or a finalizer holds it."""
        metadata = dict(known["metadata"])
        grace = _find_grace(known, grace_seconds)
        if grace == 0 and not metadata.get("finalizers"):
            self._remove(known)
            return
        already = metadata.get("deletionGracePeriodSeconds")
        if already is None or grace < already:
            metadata |= {
                "deletionTimestamp": format_time(self._clock() + grace),
                "deletionGracePeriodSeconds": grace,
                "generation": metadata["generation"] + 1,
            }
            self._update({**known, "metadata": metadata})

    def _remove(self, known: Object) -> Object:
        with self._noting_failure(reference_to(known)):
            removed = self._store.remove(reference_to(known))
        if removed["kind"] == "PersistentVolumeClaim":
            self._volumes.remove(removed)
        self._hub.publish(Change.DELETED, removed)
        return removed

    # What controllers of a cluster do.

    def _register_node(self, machine: Machine) -> None:
        node = build_node(machine, now=self._clock())
        known = self._store.get(reference_to(node))
        identity = {"uid": str(uuid.uuid4()), "creationTimestamp": format_time(self._clock()), "generation": 1}
        node["metadata"] |= identity if known is None else {key: known["metadata"][key] for key in identity}
        self._store.put(node)

    def _settle(self) -> None:
        """Collect garbage, bind claims and pods, until nothing is left to do."""
        while self._collect_garbage() or self._release_claims():
            pass
        for claim in self._store.list("PersistentVolumeClaim"):
            self._bind_claim(claim)
        for pod in self._store.list("Pod"):
            if not pod["spec"].get("nodeName") and pod.get("status", {}).get("phase") not in _ENDED:
                self._schedule(pod)

    def _collect_garbage(self) -> bool:
        orphans = [item for item in find_orphans(self._store.peek()) if not item["metadata"].get("deletionTimestamp")]
        for orphan in orphans:
            self._request_deletion(copy.deepcopy(orphan), None)
        return bool(orphans)

    def _release_claims(self) -> bool:
        released = list(find_released_claims(self._store.peek()))
        for claim in released:
            finalizers = [name for name in claim["metadata"]["finalizers"] if name != PROTECTION_FINALIZER]
            self._write_finalizers(copy.deepcopy(claim), finalizers)
        return bool(released)

    def _bind_claim(self, claim: Object) -> None:
        if claim.get("status", {}).get("phase") != "Bound" and not self._volumes.bind(claim):
            self._update({**claim, "status": build_bound_status(claim)})

    def _schedule(self, pod: Object) -> None:
        node = self._require(Reference(kind="Node", namespace="", name=NODE_NAME))
        shortage = find_shortage(pod, node=node, pods=self._store.peek("Pod"))
        if shortage:
            self._update({**pod, "status": build_unschedulable_status(pod, now=self._clock(), message=shortage)})
        else:
            status = build_scheduled_status(now=self._clock())
            self._update({**pod, "spec": {**pod["spec"], "nodeName": NODE_NAME}, "status": status})


def find_status_port(pod: Mapping[str, Any]) -> int:
    """Return the port at which a pod's agent answers."""
    for container in pod["spec"]["containers"]:
        for port in container.get("ports", ()):
            if port.get("name") == "status":
                return int(port["containerPort"])
    return DEFAULT_STATUS_PORT


def _prepare(manifest: Object) -> Object:
    """Return what of a manifest is stored: with a namespace, defaults and a first status, without what servers decide."""
    item = copy.deepcopy(manifest)
    metadata = item.setdefault("metadata", {})
    if item.get("kind") != "Node":
        metadata.setdefault("namespace", "default")
    reference = Reference(
        kind=str(item.get("kind")), namespace=metadata.get("namespace", ""), name=str(metadata.get("name", ""))
    )
    if not is_name(reference.name) or not (reference.kind == "Node" or is_name(reference.namespace)):
        raise RefusedError("metadata.name and namespace must be DNS names", reference=reference, status=422)
    item.pop("status", None)
    if item["kind"] in CUSTOM_KINDS:
        return admit(item)
    return _prepare_core(item)


def _prepare_core(item: Object) -> Object:
    if item["kind"] == "PersistentVolumeClaim":
        finalizers = [*item["metadata"].get("finalizers", ())]
        item["metadata"]["finalizers"] = [*{*finalizers, PROTECTION_FINALIZER}]
        # A folder can be shared by any number of pods, whatever was asked for.
        modes = dict.fromkeys([*item.get("spec", {}).get("accessModes", ()), "ReadWriteMany"])
        return {**item, "spec": {**item.get("spec", {}), "accessModes": list(modes)}, "status": {"phase": "Pending"}}
    if item["kind"] == "Pod":
        grace = {"terminationGracePeriodSeconds": _DEFAULT_GRACE_SECONDS, "restartPolicy": "Always"}
        return {**item, "spec": {**grace, **item.get("spec", {})}, "status": {"phase": "Pending"}}
    return item


def _find_grace(item: Object, asked: int | None) -> int:
    """Return the seconds that a deletion waits for a node: none for what no node runs."""
    running = (
        item["kind"] == "Pod" and item["spec"].get("nodeName") and item.get("status", {}).get("phase") not in _ENDED
    )
    if not running:
        return 0
    return asked if asked is not None else int(item["spec"]["terminationGracePeriodSeconds"])


def _refuse_if_any(refusals: Sequence[str], reference: Reference) -> None:
    if refusals:
        raise RefusedError("; ".join(refusals), reference=reference, status=422)


def _without_version(item: Object) -> Object:
    metadata = {key: value for key, value in item["metadata"].items() if key != "resourceVersion"}
    return {**item, "metadata": metadata}
