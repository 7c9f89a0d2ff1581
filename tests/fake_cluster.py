"""A cluster in memory that behaves as an API server does, as far as the conformance suite of the port demands it, and that
fails, delays and repeats on request. Resource versions are opaque here on purpose."""

import asyncio
import itertools
import json
import re
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from oarlock_operator.cluster.port import (
    AlreadyExistsError,
    Change,
    ConflictError,
    NotFoundError,
    Object,
    RefusedError,
    UnavailableError,
    WatchEvent,
    keep_version,
)
from oarlock_operator.reconcile.plans import EventNote, Reference

CUSTOM_KINDS = ("Dataset", "TrainingJob")


class FakeClock:
    """Time passes only when `advance` says so; whoever sleeps is woken in order."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self._elapsed, self._offset = 0.0, now
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = itertools.count()

    def now(self) -> float:
        return self._offset + self._elapsed

    def monotonic(self) -> float:
        return self._elapsed

    def jump(self, seconds: float) -> None:
        """Set the clock: nobody is woken by that."""
        self._offset += seconds

    async def sleep(self, seconds: float) -> None:
        wakes = asyncio.get_running_loop().create_future()
        self._sleepers.append((self._elapsed + seconds, next(self._order), wakes))
        await wakes

    async def advance(self, seconds: float) -> None:
        """Let time pass, and everybody who is due do what there is to do."""
        end = self._elapsed + seconds
        while due := [sleeper for sleeper in self._sleepers if sleeper[0] <= end and not sleeper[2].done()]:
            first = min(due)
            self._elapsed = max(self._elapsed, first[0])
            self._sleepers.remove(first)
            first[2].set_result(None)
            await settle()
        self._elapsed = end
        self._sleepers = [sleeper for sleeper in self._sleepers if not sleeper[2].done()]
        await settle()


async def settle(turns: int = 50) -> None:
    """Let every task of the event loop run until all of them wait."""
    for _ in range(turns):
        await asyncio.sleep(0)


@dataclass(eq=False)
class _Watcher:
    kind: str
    namespace: str | None
    labels: Mapping[str, str]
    events: asyncio.Queue[WatchEvent | Exception] = field(default_factory=asyncio.Queue)


class FakeCluster:
    """See the port. What a user, a kubelet or a bad network does is done by the methods that the port has not."""

    def __init__(self, clock: FakeClock | None = None) -> None:
        self.clock = clock or FakeClock()
        self.objects: dict[Reference, Object] = {}
        self.requests: list[tuple[str, Reference]] = []
        self.created: list[Reference] = []
        self.notes: list[tuple[Reference, EventNote]] = []
        self.answers: dict[str, bytes | Exception] = {}
        """What the agents answer, by pod name."""
        self.groups: set[str] = set()
        """API groups of other projects that are installed."""
        self.drops: set[str] = set()
        """Fields of the status that the server's schema does not know."""
        self._faults: dict[tuple[str, str], list[Exception]] = defaultdict(list)
        self._versions = itertools.count(1)
        self._watchers: list[_Watcher] = []
        self._held: list[tuple[_Watcher, WatchEvent]] = []
        self._holding: set[str] = set()
        self._is_away = False

    # The port.

    async def get(self, reference: Reference) -> Object:
        self._enter("get", reference)
        return _copy(self._find(reference))

    async def list(
        self, kind: str, *, namespace: str | None = None, labels: Mapping[str, str] | None = None
    ) -> Sequence[Object]:
        self._enter("list", Reference(kind=kind, namespace=namespace or "", name=""))
        return self._select(kind, namespace, labels or {})

    async def list_versions(
        self, kind: str, *, namespace: str | None = None, labels: Mapping[str, str] | None = None
    ) -> Sequence[Object]:
        return [keep_version(item) for item in await self.list(kind, namespace=namespace, labels=labels)]

    async def watch(
        self, kind: str, *, namespace: str | None = None, labels: Mapping[str, str] | None = None
    ) -> AsyncIterator[WatchEvent]:
        self._enter("watch", Reference(kind=kind, namespace=namespace or "", name=""))
        watcher = _Watcher(kind, namespace, labels or {})
        self._relist(watcher)
        self._watchers.append(watcher)
        try:
            while True:
                event = await watcher.events.get()
                if isinstance(event, Exception):
                    raise event
                yield event
        finally:
            self._watchers.remove(watcher)

    async def create(self, manifest: Object) -> Object:
        reference = _refer(manifest)
        self._enter("create", reference)
        if not re.fullmatch(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?", reference.name):
            raise RefusedError("metadata.name: invalid value", reference=reference, status=422)
        if reference in self.objects:
            raise AlreadyExistsError("already exists", reference=reference, status=409)
        made = _copy(manifest)
        made["metadata"] |= {"uid": str(uuid.uuid4()), "creationTimestamp": self._time(), "generation": 1}
        if manifest["kind"] in {"Pod", "PersistentVolumeClaim"}:
            made["status"] = {"phase": "Pending"}
        elif manifest["kind"] in CUSTOM_KINDS:
            made.pop("status", None)  # it is written by its own request only
        self.objects[reference] = made
        self.created.append(reference)
        answer = self._changed(reference, Change.ADDED)
        self._collect_garbage()
        return answer

    async def delete(self, reference: Reference, *, uid: str, grace_seconds: int | None = None) -> None:
        self._enter("delete", reference)
        there = self.objects.get(reference)
        if there is None:
            return
        if there["metadata"]["uid"] != uid:
            raise ConflictError("has another uid", reference=reference, status=409)
        self._delete(reference, grace_seconds=grace_seconds)

    async def write_status(self, reference: Reference, *, resource_version: str, status: Object) -> Object:
        self._enter("write_status", reference)
        there = self._find(reference, resource_version=resource_version)
        stored = {key: value for key, value in _copy(status).items() if key not in self.drops}
        if there.get("status") == stored:
            return _copy(there)
        there["status"] = stored
        return self._changed(reference, Change.MODIFIED)

    async def write_finalizers(
        self, reference: Reference, *, resource_version: str, finalizers: Sequence[str]
    ) -> Object:
        self._enter("write_finalizers", reference)
        there = self._find(reference, resource_version=resource_version)
        there["metadata"]["finalizers"] = list(finalizers)
        answer = self._changed(reference, Change.MODIFIED)
        if not finalizers and "deletionTimestamp" in there["metadata"]:
            self._remove(reference)
        return answer

    async def serves(self, group: str) -> bool:
        return group in self.groups

    async def record_event(self, reference: Reference, *, uid: str, note: EventNote) -> None:  # noqa: ARG002
        self.notes.append((reference, note))

    async def fetch_worker_status(self, pod: Object) -> bytes:
        answer = self.answers.get(pod["metadata"]["name"], UnavailableError("connection refused"))
        if isinstance(answer, Exception):
            raise answer
        return answer

    # What users, kubelets and accidents do.

    def edit(self, reference: Reference, change: Callable[[Object], None]) -> None:
        """Change an object as somebody else would."""
        there = self._find(reference)
        spec = _copy(there.get("spec"))
        change(there)
        if there.get("spec") != spec:
            there["metadata"]["generation"] += 1
        self._changed(reference, Change.MODIFIED)

    def remove(self, reference: Reference) -> None:
        """Delete as `kubectl delete` does."""
        self._delete(reference, grace_seconds=None)

    def finish_pod(self, reference: Reference) -> None:
        """End a pod that is being deleted, as its kubelet does."""
        self._remove(reference)

    def fail_next(self, verb: str, kind: str, *errors: Exception) -> None:
        """Answer the next requests of this sort with errors."""
        self._faults[verb, kind].extend(errors)

    def hold_events(self, *kinds: str) -> None:
        """From now on the watches of these kinds bring nothing."""
        self._holding = set(kinds)

    def release_events(self) -> None:
        """Bring what was held back, in order."""
        held, self._held, self._holding = self._held, [], set()
        for watcher, event in held:
            watcher.events.put_nowait(event)

    def lose_events(self) -> None:
        """Forget what was held back, and begin all watches anew."""
        self._held, self._holding = [], set()
        self.relist()

    def repeat_events(self) -> None:
        """Bring the newest state of every object once more."""
        for watcher in self._watchers:
            for each in self._select(watcher.kind, watcher.namespace, watcher.labels):
                self._send(watcher, WatchEvent(change=Change.MODIFIED, object=each))

    def relist(self) -> None:
        """Begin all watches anew, as after a 410."""
        for watcher in self._watchers:
            self._relist(watcher)

    def go_away(self) -> None:
        """Break all watches off, and answer nothing; what kubelets do goes on."""
        self._is_away = True
        for watcher in self._watchers:
            watcher.events.put_nowait(UnavailableError("connection reset"))

    def come_back(self) -> None:
        self._is_away = False

    def find(self, kind: str) -> Sequence[Object]:
        """Return all objects of a kind, by name."""
        return [_copy(self.objects[each]) for each in sorted(self.objects, key=str) if each.kind == kind]

    def count(self, verb: str, kind: str) -> int:
        return sum(1 for each, reference in self.requests if (each, reference.kind) == (verb, kind))

    # How it works.

    def _enter(self, verb: str, reference: Reference) -> None:
        self.requests.append((verb, reference))
        if self._is_away:
            raise UnavailableError("connection refused")
        if self._faults[verb, reference.kind]:
            raise self._faults[verb, reference.kind].pop(0)

    def _find(self, reference: Reference, *, resource_version: str | None = None) -> Object:
        there = self.objects.get(reference)
        if there is None:
            raise NotFoundError("not found", reference=reference, status=404)
        if resource_version not in {None, there["metadata"]["resourceVersion"]}:
            raise ConflictError("the object has been modified", reference=reference, status=409)
        return there

    def _select(self, kind: str, namespace: str | None, labels: Mapping[str, str]) -> Sequence[Object]:
        return [
            _copy(each)
            for reference, each in self.objects.items()
            if reference.kind == kind and _matches(each, namespace, labels)
        ]

    def _delete(self, reference: Reference, *, grace_seconds: int | None) -> None:
        there = self.objects[reference]
        is_running = bool((there.get("spec") or {}).get("nodeName")) and grace_seconds != 0
        if there["metadata"].get("finalizers") or (reference.kind == "Pod" and is_running):
            if "deletionTimestamp" not in there["metadata"]:
                there["metadata"]["deletionTimestamp"] = self._time(grace_seconds or 30)
                self._changed(reference, Change.MODIFIED)
        else:
            self._remove(reference)

    def _remove(self, reference: Reference) -> None:
        self._changed(reference, Change.DELETED)
        del self.objects[reference]
        self._collect_garbage()

    def _collect_garbage(self) -> None:
        """Delete what had an owner and has none left."""
        living = {each["metadata"]["uid"] for each in self.objects.values()}
        for reference, each in list(self.objects.items()):
            owners = each["metadata"].get("ownerReferences") or ()
            if reference in self.objects and owners and not any(owner["uid"] in living for owner in owners):
                self._delete(reference, grace_seconds=None)

    def _changed(self, reference: Reference, change: Change) -> Object:
        there = self.objects[reference]
        there["metadata"]["resourceVersion"] = f"opaque-{next(self._versions) * 7919 % 1000:03}-{uuid.uuid4().hex[:6]}"
        for watcher in self._watchers:
            if reference.kind == watcher.kind and _matches(there, watcher.namespace, watcher.labels):
                self._send(watcher, WatchEvent(change=change, object=_copy(there)))
        return _copy(there)

    def _relist(self, watcher: _Watcher) -> None:
        listed = tuple(self._select(watcher.kind, watcher.namespace, watcher.labels))
        watcher.events.put_nowait(WatchEvent(change=Change.RELISTED, listed=listed))

    def _send(self, watcher: _Watcher, event: WatchEvent) -> None:
        if watcher.kind in self._holding:
            self._held.append((watcher, event))
        else:
            watcher.events.put_nowait(event)

    def _time(self, later: float = 0) -> str:
        return datetime.fromtimestamp(self.clock.now() + later, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _copy(each: Any) -> Any:
    return json.loads(json.dumps(each))  # three times as fast as a deep copy


def refuse(message: str, *, status: int = 403) -> RefusedError:
    return RefusedError(message, status=status)


def _refer(manifest: Mapping[str, Any]) -> Reference:
    metadata = manifest["metadata"]
    return Reference(kind=manifest["kind"], namespace=metadata.get("namespace", ""), name=metadata["name"])


def _matches(each: Object, namespace: str | None, labels: Mapping[str, str]) -> bool:
    there = each["metadata"].get("labels") or {}
    is_there = namespace is None or each["metadata"].get("namespace", "") == namespace
    return is_there and all(there.get(label) == value for label, value in labels.items())
