"""Doing what a plan says, in its order: the status first, and the rest only after the server has acknowledged it.

Whatever happens on the way, stopping here and planning again is right: names, UIDs and resource versions make every step
harmless when it is repeated, and refused when it is out of date.
"""

import asyncio
import itertools
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from oarlock_operator import names, observing
from oarlock_operator.clock import Clock
from oarlock_operator.cluster.port import (
    AlreadyExistsError,
    Cluster,
    ClusterError,
    ConflictError,
    NotFoundError,
    Object,
    RefusedError,
    UnavailableError,
)
from oarlock_operator.errors import PrunedStatusError
from oarlock_operator.gathering import Gathered, Gatherer
from oarlock_operator.metrics import Metrics
from oarlock_operator.reconcile.observed import Refusal
from oarlock_operator.reconcile.plans import Deletion, Plan, Reference
from oarlock_operator.store import CLAIM, CUSTOM_KINDS, NODE, POD
from oarlock_operator.write_budget import WriteBudget

_log = logging.getLogger(__name__)
T = TypeVar("T")

_TOO_MANY = 429
_AT_ONCE = 64
"""Creations, deletions and live reads that are on the way at the same time."""
_TOGETHER = 32
"""Pods that are created together before it is looked whether they were refused."""


@dataclass(slots=True)
class Applier:
    """Applies plans."""

    cluster: Cluster
    gatherer: Gatherer
    budget: WriteBudget
    clock: Clock
    metrics: Metrics
    _slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_AT_ONCE))

    async def apply(self, key: Reference, gathered: Gathered, plan: Plan) -> float | None:
        """Apply a plan; return when to try again what had to wait its turn.

        Raises:
            ConflictError: what was planned from is out of date.
            NotFoundError: the object of the key is gone.
            UnavailableError, RefusedError, PrunedStatusError.
        """
        version = gathered.observed.object.resource_version
        version, deferred = await self._write_status(key, gathered, plan, version)
        if plan.finalizers is not None and tuple(plan.finalizers) != gathered.observed.object.finalizers:
            asked = self.gatherer.store.mark(key.kind)
            written = await self.cluster.write_finalizers(key, resource_version=version, finalizers=plan.finalizers)
            self._adopt_own(key, written, asked=asked)
        await self._each(plan.delete, self._delete)
        await self._create_all(key, plan.create)
        for note in plan.events:
            await self.cluster.record_event(key, uid=gathered.observed.object.uid, note=note)
        return deferred

    async def read_live(self, references: Iterable[Reference], *, key: Reference | None = None) -> None:
        """Read objects past all caches, and have the store know what was found; `key` is whom they are read for."""
        await self._each(tuple(references), lambda reference: self._read_live(reference, key))

    async def _write_status(
        self, key: Reference, gathered: Gathered, plan: Plan, version: str
    ) -> tuple[str, float | None]:
        """Return the version of the object after the write, and when to try again if it had to wait."""
        if plan.status is None:
            return version, None
        status = without_empty_texts(plan.status.to_wire())
        if status == gathered.status:
            self.metrics.count_status_write(kind=key.kind, result="unchanged")
            return version, None
        deferred = None if _is_urgent(plan) else self.budget.wait_until(key)
        if deferred is not None:
            self.metrics.count_status_write(kind=key.kind, result="deferred")
            return version, deferred
        asked = self.gatherer.store.mark(key.kind)
        try:
            written = await self.cluster.write_status(key, resource_version=version, status=status)
        except ConflictError:
            self.metrics.count_status_write(kind=key.kind, result="conflict")
            raise
        self.metrics.count_status_write(kind=key.kind, result="written")
        self.budget.note_write(key)
        self._adopt_own(key, written, asked=asked)
        missing = find_missing(status, written.get("status"), path="status")
        if missing:
            raise PrunedStatusError(key, missing)
        return str(written["metadata"]["resourceVersion"]), None

    def _adopt_own(self, key: Reference, written: Object, *, asked: int) -> None:
        self.gatherer.store.adopt({**written, "kind": key.kind}, asked=asked)

    async def _delete(self, deletion: Deletion) -> None:
        try:
            await self.cluster.delete(deletion.reference, uid=deletion.uid, grace_seconds=deletion.grace_seconds)
        except ConflictError:
            # Another object has taken the name: that is news, and nothing to delete.
            await self._read_live(deletion.reference, None)
            return
        _log.info("deleted %s", describe(deletion.reference))
        self.gatherer.store.expect_deletion(deletion.reference, deletion.uid)

    async def _create_all(self, key: Reference, manifests: Iterable[Object]) -> None:
        """Create in order; pods that follow each other together. What is refused stops those that come after it."""
        for group in _group(manifests):
            if not all(await self._each(group, lambda manifest: self._create(key, manifest))):
                return

    async def _create(self, key: Reference, manifest: Object) -> bool:
        reference = refer_to(manifest)
        asked = self.gatherer.store.mark(reference.kind)
        try:
            made = await self.cluster.create(manifest)
        except AlreadyExistsError:
            return await self._meet(key, manifest, reference)
        except RefusedError as error:
            self._note_refusal(key, reference, error)
            _log.warning("the cluster refuses to create %s: %s", describe(reference), error)
            return False
        except UnavailableError as error:
            if error.status >= _TOO_MANY:
                self._note_refusal(key, reference, error)  # the server lives, so that it can be told of in the status
            raise
        _log.info("created %s", describe(reference))
        self._settle(key, {**made, "kind": reference.kind}, asked=asked)
        return True

    def _note_refusal(self, key: Reference, reference: Reference, error: ClusterError) -> None:
        refusal = Refusal(message=str(error), time=self.clock.now(), status=error.status)
        self.gatherer.refusals.setdefault(key, {})[reference.name] = refusal

    async def _meet(self, key: Reference, manifest: Object, reference: Reference) -> bool:
        """There is an object of that name: find out whether it is the very one that was to be created."""
        asked = self.gatherer.store.mark(reference.kind)
        try:
            live = {**await self.cluster.get(reference), "kind": reference.kind}
        except NotFoundError:
            return False  # it was just going away: the next plan asks again
        if is_same_child(manifest, live):
            self._settle(key, live, asked=asked)
            return True
        _log.warning("%s is there already and was not made for this run of %s", describe(reference), describe(key))
        if is_managed(live):
            self.gatherer.store.adopt(live, asked=asked)
        self.gatherer.reads.note_stranger(key, live)
        return False

    def _settle(self, key: Reference, live: Object, *, asked: int) -> None:
        self.gatherer.refusals.get(key, {}).pop(live["metadata"]["name"], None)
        self.gatherer.store.adopt(live, asked=asked)

    async def _read_live(self, reference: Reference, key: Reference | None) -> None:
        store, reads = self.gatherer.store, self.gatherer.reads
        asked = store.mark(reference.kind)
        try:
            live = {**await self.cluster.get(reference), "kind": reference.kind}
        except NotFoundError:
            store.forget(reference, asked=asked)
            if reference.kind == CLAIM:
                reads.note_absence(reference)
            return
        if is_managed(live) or reference.kind in {*CUSTOM_KINDS, NODE}:
            store.adopt(live, asked=asked)
        elif reference.kind == CLAIM:
            reads.note(live)
        if key and reference.kind == POD and observing.find_owner(live) != (key.kind, key.name):
            reads.note_stranger(key, live)

    async def _each(self, items: Iterable[Any], work: Callable[[Any], Awaitable[T]]) -> list[T]:
        """Do some work for all items at once, each to its end before the first error is raised."""
        results = await asyncio.gather(*(self._one(item, work) for item in items), return_exceptions=True)
        errors = [result for result in results if isinstance(result, BaseException)]
        if errors:
            raise next((error for error in errors if not isinstance(error, ClusterError)), errors[0])
        return [result for result in results if not isinstance(result, BaseException)]

    async def _one(self, item: Any, work: Callable[[Any], Awaitable[T]]) -> T:
        async with self._slots:
            return await work(item)


def _group(manifests: Iterable[Object]) -> Iterator[list[Object]]:
    """Split manifests into groups that may be created at once: everything else alone, pods by the dozen."""
    for kind, same in itertools.groupby(manifests, key=lambda manifest: str(manifest["kind"])):
        size = _TOGETHER if kind == POD else 1
        while group := list(itertools.islice(same, size)):
            yield group


def _is_urgent(plan: Plan) -> bool:
    """A status that goes with deeds never waits: they need its acknowledgement."""
    return plan.urgent or bool(plan.delete or plan.create or plan.finalizers is not None)


def without_empty_texts(status: Object) -> Object:
    """Leave out texts that say nothing, except in the frozen run, which stays as it was written.

    Some servers take an empty text for null, which no field of ours may be.
    """
    kept = {name: value for name, value in status.items() if not isinstance(value, str) or value}
    return {name: value if name == "run" else _without_empty_texts(value) for name, value in kept.items()}


def _without_empty_texts(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_empty_texts(item) for item in value]
    return without_empty_texts(value) if isinstance(value, dict) else value


def find_missing(sent: Any, stored: Any, *, path: str) -> str:
    """Return the path of the first thing that was sent and is not stored; empty if all is there."""
    if sent == stored:
        return ""
    if isinstance(sent, Mapping):
        if not isinstance(stored, Mapping):
            return path
        paths = (find_missing(value, stored.get(name), path=f"{path}.{name}") for name, value in sent.items())
    elif isinstance(sent, list):
        if not isinstance(stored, list) or len(stored) != len(sent):
            return path
        paths = (
            find_missing(one, other, path=f"{path}[{index}]")
            for index, (one, other) in enumerate(zip(sent, stored, strict=True))
        )
    else:
        return path
    return next((found for found in paths if found), "")


def is_same_child(manifest: Object, live: Object) -> bool:
    """Whether a live object is what a manifest would create: same owner, attempt and run; for a claim, same label.

    A claim without an owner was left by an earlier object of the name; one that has another owner goes with that.
    """
    if manifest["kind"] == CLAIM:
        stays = "deletionTimestamp" not in live["metadata"]
        return stays and _claim_label(manifest) == _claim_label(live) and _owners(live) <= _owners(manifest)
    return _identify(manifest) == _identify(live)


def _identify(child: Object) -> tuple[Any, ...]:
    annotations = child["metadata"].get("annotations") or {}
    run_hash = annotations.get(names.RUN_HASH_ANNOTATION)
    return observing.owner_uid(child), run_hash, *_labels(child, names.ATTEMPT_LABEL, names.RANK_LABEL)


def _claim_label(claim: Object) -> tuple[Any, ...]:
    return _labels(claim, names.JOB_LABEL, names.DATASET_LABEL)


def _owners(child: Object) -> set[str]:
    return {observing.owner_uid(child)} - {""}


def _labels(child: Object, *labels: str) -> tuple[Any, ...]:
    there = child["metadata"].get("labels") or {}
    return tuple(there.get(label) for label in labels)


def is_managed(raw: Object) -> bool:
    """Whether the watches show an object."""
    return (raw["metadata"].get("labels") or {}).get(names.MANAGED_BY_LABEL) == names.MANAGED_BY


def refer_to(raw: Object) -> Reference:
    metadata = raw["metadata"]
    return Reference(kind=raw["kind"], namespace=metadata.get("namespace", ""), name=metadata["name"])


def describe(reference: Reference) -> str:
    return f"{reference.kind} {reference.namespace}/{reference.name}"
