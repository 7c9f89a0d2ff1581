"""What was seen of the whole cluster, and which keys a change concerns.

A key is the reference of a Dataset or a TrainingJob. The store never decides and never asks the cluster: it says what is
known, and which objects must be read live before that may be believed. No I/O, no clock.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from oarlock_api.contract import TerminationRecord
from oarlock_operator import observing
from oarlock_operator.cluster.port import Change, WatchEvent
from oarlock_operator.complaints import Complaints
from oarlock_operator.kept_objects import (
    Child,
    OwnedPod,
    Stored,
    keep_claim,
    keep_dataset,
    keep_job,
    keep_pod,
    keep_pod_group,
    keep_service,
)
from oarlock_operator.mirror import Mirror, Name
from oarlock_operator.observing import Object, SeenPod
from oarlock_operator.policy.cleanup import has_left
from oarlock_operator.reconcile.observed import (
    ObservedClaim,
    ObservedNode,
    ObservedPod,
    ObservedPodGroup,
    ObservedService,
)
from oarlock_operator.reconcile.plans import Reference

JOB, DATASET = "TrainingJob", "Dataset"
POD, SERVICE, CLAIM, NODE, EVENT = "Pod", "Service", "PersistentVolumeClaim", "Node", "Event"
POD_GROUP = "PodGroup"
"""Of a scheduler that may not be installed: nothing waits until it is listed."""
CUSTOM_KINDS = (DATASET, JOB)
CHILD_KINDS = (POD, SERVICE, CLAIM)


class Store:
    """Mirrors of all kinds, and the indices over them. `wake(key)` is called for every key that a change concerns."""

    def __init__(self, wake: Callable[[Reference], None]) -> None:
        self._wake = wake
        self.queue_changed: Callable[[], None] = lambda: None
        """Called when the queue must decide anew: a job, the node of a pod, or a node has changed."""
        self.counts_cores = False
        """Whether the queue counts more than GPUs, so that jobs without any concern it."""
        self.jobs: Mirror[Stored] = Mirror(keep_job, self._job_changed)
        self.datasets: Mirror[Stored] = Mirror(keep_dataset, self._dataset_changed)
        self.pods: Mirror[OwnedPod] = Mirror(keep_pod, self._pod_changed)
        self.services: Mirror[Child] = Mirror(keep_service, self._child_changed(SERVICE))
        self.claims: Mirror[Child] = Mirror(keep_claim, self._child_changed(CLAIM))
        self.pod_groups: Mirror[Child] = Mirror(keep_pod_group, self._child_changed(POD_GROUP))
        self.nodes: Mirror[ObservedNode] = Mirror(observing.observe_node, self._node_changed)
        self._mirrors: dict[str, Mirror[Any]] = {
            JOB: self.jobs,
            DATASET: self.datasets,
            POD: self.pods,
            SERVICE: self.services,
            CLAIM: self.claims,
            POD_GROUP: self.pod_groups,
            NODE: self.nodes,
        }
        self._children: dict[tuple[str, Reference], set[Name]] = defaultdict(set)
        self._dataset_users: dict[Reference, set[Reference]] = defaultdict(set)
        self._claim_users: dict[Name, set[Reference]] = defaultdict(set)
        self._claims_used: dict[Reference, frozenset[str]] = {}
        self._complaints = Complaints()
        self._last_words: dict[Reference, TerminationRecord] = {}

    def mirror(self, kind: str) -> Mirror[Any]:
        return self._mirrors[kind]

    def apply(self, kind: str, event: WatchEvent) -> None:
        """Take an event of a watch."""
        if kind == EVENT:
            self._apply_warning(event)
            return
        if kind == POD and event.object is not None and event.change is Change.DELETED:
            self._hear_last_words(event.object)
        mirror = self._mirrors[kind]
        if event.change is Change.RELISTED:
            mirror.offer_all(event.listed)
        elif event.object is not None and event.change is Change.DELETED:
            mirror.offer_deletion(event.object)
        elif event.object is not None:
            mirror.offer(event.object)

    def mark(self, kind: str) -> int:
        """Return what `adopt` and `forget` need to know of the time at which a request is sent."""
        return self._mirrors[kind].heard

    def adopt(self, raw: Object, *, asked: int) -> None:
        """Take the answer to a request of our own, sent when `mark` was `asked`."""
        mirror = self._mirrors[raw["kind"]]
        if raw["kind"] != NODE:
            mirror.adopt(dict(raw), asked=asked)
        elif not mirror.has_heard(Name("", raw["metadata"]["name"]), since=asked):
            mirror.offer(dict(raw))  # nothing of ours is written there, so the watch is always right soon

    def forget(self, reference: Reference, *, asked: int) -> None:
        """Note that a live read, sent when `mark` was `asked`, did not find an object."""
        self._mirrors[reference.kind].forget(_name(reference), asked=asked)

    def expect_deletion(self, reference: Reference, uid: str) -> None:
        """Note that the server accepted the deletion of a pod or a PodGroup."""
        if reference.kind == POD:
            self.pods.amend(_name(reference), uid, _deleting)
        elif reference.kind == POD_GROUP:
            self.pod_groups.amend(_name(reference), uid, _leaving)

    def is_listed(self) -> bool:
        """Whether everything was seen at least once that planning must not miss."""
        return all(self._mirrors[kind].is_listed for kind in (*CUSTOM_KINDS, *CHILD_KINDS))

    def load(self, key: Reference) -> dict[str, Any] | None:
        stored = self._mirrors[key.kind].get(_name(key))
        return stored.load() if stored else None

    def keys(self) -> Iterator[Reference]:
        """Keys of all Datasets and TrainingJobs."""
        for kind in CUSTOM_KINDS:
            yield from (_reference(kind, name) for name in self._mirrors[kind])

    def phases(self) -> Iterator[tuple[str, str]]:
        """Kind and phase of every Dataset and TrainingJob."""
        for kind in CUSTOM_KINDS:
            yield from ((kind, stored.phase) for stored in self._mirrors[kind].values())

    def doubts(self, key: Reference) -> list[Reference]:
        """Return what must be read live before a key may be planned: itself, its children, their nodes, a job's Dataset."""
        near = {(key.kind, _name(key))}
        near |= {(kind, name) for kind in (*CHILD_KINDS, POD_GROUP) for name in self._children.get((kind, key), ())}
        stored = self._mirrors[key.kind].get(_name(key))
        if key.kind == JOB and stored and stored.dataset:
            near.add((DATASET, Name(key.namespace, stored.dataset)))
        doubts = [_reference(kind, name) for kind, name in near if name in self._mirrors[kind].doubts]
        return doubts + [node for node in self.lost_nodes_of(key) if Name("", node.name) not in self.nodes]

    def lost_nodes_of(self, key: Reference) -> list[Reference]:
        """Return the nodes of a key's pods that are not ready, or of which nothing is known: a pod may be seen first."""
        nodes = {seen.pod.node for seen in self.pods_of(key)}
        return [Reference(kind=NODE, namespace="", name=node) for node in sorted(nodes) if self.is_lost(node)]

    def stray_doubts(self) -> list[Reference]:
        """Return what must be read live though it belongs to no key that is known."""
        return [_reference(kind, name) for kind, mirror in self._mirrors.items() for name in mirror.doubts]

    def pods_of(self, key: Reference) -> list[SeenPod]:
        names = sorted(self._children.get((POD, key), ()))
        return [self._explain(owned.seen) for name in names if (owned := self.pods.get(name))]

    def last_words_of(self, key: Reference) -> TerminationRecord | None:
        """What the latest rank 0 of a job said at its end, if its pod is gone: the pod may go before that was planned with."""
        return self._last_words.get(key)

    def _hear_last_words(self, raw: Object) -> None:
        try:
            gone = keep_pod(raw)
        except Exception:  # noqa: BLE001  # whatever is wrong with it, it is gone
            return
        pod = gone.seen.pod
        before = self._last_words.get(gone.owner) if gone.owner else None
        if gone.owner and pod.rank == 0 and pod.termination and (not before or pod.attempt >= before.attempt):
            self._last_words[gone.owner] = pod.termination
            self._wake(gone.owner)

    def service_of(self, key: Reference, name: str) -> ObservedService | None:
        child = self.services.get(Name(key.namespace, name))
        return child.seen if child else None

    def pod_groups_of(self, key: Reference) -> tuple[ObservedPodGroup, ...] | None:
        """Return the PodGroups made for a job, of all attempts; None: not known."""
        if not self.pod_groups.is_listed:
            return None
        names = sorted(self._children.get((POD_GROUP, key), ()))
        return tuple(child.seen for name in names if (child := self.pod_groups.get(name)))

    def claim(self, name: Name) -> ObservedClaim | None:
        child = self.claims.get(name)
        return self.explain_claim(child.seen) if child else None

    def explain_claim(self, claim: ObservedClaim) -> ObservedClaim:
        """Return a claim with the latest warning about it, while it is not bound."""
        warning = self._complaints.of(claim.uid)
        return replace(claim, message=warning) if warning and claim.phase != "Bound" else claim

    def use_claims(self, key: Reference, claims: frozenset[str]) -> None:
        """Note that changes of these claims, and of no others, concern a key."""
        before = self._claims_used.pop(key, frozenset())
        if claims:
            self._claims_used[key] = claims
        for claim in before - claims:
            users = self._claim_users[Name(key.namespace, claim)]
            users.discard(key)
            if not users:
                del self._claim_users[Name(key.namespace, claim)]
        for claim in claims - before:
            self._claim_users[Name(key.namespace, claim)].add(key)

    def has_begun(self, job: Reference) -> bool:
        """Whether a job is there and was accepted."""
        stored = self.jobs.get(_name(job))
        return bool(stored and stored.has_begun)

    def users_of(self, dataset: Reference) -> tuple[Reference, ...]:
        """Unfinished jobs that refer to a Dataset."""
        return tuple(sorted(self._dataset_users.get(dataset, ()), key=lambda key: key.name))

    def is_lost(self, node: str) -> bool:
        """Whether a node is gone or not ready; False while nodes may not be watched."""
        if not node or not self.nodes.is_listed:
            return False
        known = self.nodes.get(Name("", node))
        return known is None or not known.is_ready

    def count_usable_nodes(self) -> int | None:
        """Return how many nodes take pods; None while nodes may not be watched."""
        if not self.nodes.is_listed:
            return None
        return sum(1 for node in self.nodes.values() if node.is_ready and not node.is_cordoned)

    def _explain(self, seen: SeenPod) -> SeenPod:
        """Return a pod with the latest warning about it, while it has a node and does not run."""
        warning = self._complaints.of(seen.pod.uid)
        if not warning or seen.pod.phase != "Pending" or not seen.pod.scheduled:
            return seen
        return replace(seen, pod=replace(seen.pod, warning=warning))

    def _apply_warning(self, event: WatchEvent) -> None:
        for raw in event.listed or ((event.object,) if event.object else ()):
            warning = observing.observe_warning(raw)
            if event.change is Change.DELETED or warning.kind not in {POD, CLAIM}:
                continue
            keys = self._concerned(warning.kind, Name(warning.namespace, warning.name))
            if self._complaints.note(warning, is_known=bool(keys)):
                for key in keys:
                    self._wake(key)

    def _concerned(self, kind: str, name: Name) -> set[Reference]:
        """Keys that an object of this name concerns."""
        keys = set(self._claim_users.get(name, ())) if kind == CLAIM else set()
        child = self._mirrors[kind].get(name) if kind in {POD, CLAIM} else None
        return keys | {child.owner} if child and child.owner else keys

    def _job_changed(self, name: Name, old: Stored | None, new: Stored | None) -> None:
        key = _reference(JOB, name)
        if _demands_differ(old, new, counts_cores=self.counts_cores):
            self.queue_changed()
        before, after = old.dataset if old else "", new.dataset if new else ""
        if before != after:
            for dataset, is_used in ((before, False), (after, True)):
                if dataset:
                    self._use_dataset(key, Reference(kind=DATASET, namespace=name.namespace, name=dataset), is_used)
        self._key_changed(key, new)

    def _use_dataset(self, job: Reference, dataset: Reference, is_used: bool) -> None:  # noqa: FBT001
        users = self._dataset_users[dataset]
        users.add(job) if is_used else users.discard(job)
        if not users:
            del self._dataset_users[dataset]
        self._wake(dataset)

    def _dataset_changed(self, name: Name, old: Stored | None, new: Stored | None) -> None:
        key = _reference(DATASET, name)
        self._key_changed(key, new)
        is_same = old and new and (old.uid, old.for_users) == (new.uid, new.for_users)
        for job in () if is_same else self.users_of(key):
            self._wake(job)

    def _key_changed(self, key: Reference, new: Stored | None) -> None:
        if new is None:
            self.use_claims(key, frozenset())
            self._last_words.pop(key, None)
        self._wake(key)

    def _pod_changed(self, name: Name, old: OwnedPod | None, new: OwnedPod | None) -> None:
        if old and not new:
            self._complaints.forget(old.seen.pod.uid)
        if new and not old:
            self._complaints.welcome(new.seen.pod.uid)
        if self._place_of(old) != self._place_of(new):
            self.queue_changed()
        self._index(POD, name, old.owner if old else None, new.owner if new else None)

    def _place_of(self, owned: OwnedPod | None) -> tuple[object, ...]:
        """What the queue needs to know of a pod: where it is, and whether it still takes anything there."""
        if owned is None or not (owned.seen.devices or (self.counts_cores and owned.seen.asks)):
            return ()
        pod = owned.seen.pod
        return (pod.uid, pod.node, pod.deleting, has_left(pod))

    def _child_changed(self, kind: str) -> Callable[[Name, Child | None, Child | None], None]:
        def changed(name: Name, old: Child | None, new: Child | None) -> None:
            if old and not new:
                self._complaints.forget(old.seen.uid)
            if new and not old:
                self._complaints.welcome(new.seen.uid)
            self._index(kind, name, old.owner if old else None, new.owner if new else None)
            for key in tuple(self._claim_users.get(name, ())) if kind == CLAIM else ():
                self._wake(key)

        return changed

    def _index(self, kind: str, name: Name, before: Reference | None, after: Reference | None) -> None:
        if before and before != after:
            self._children[kind, before].discard(name)
            if not self._children[kind, before]:
                del self._children[kind, before]
            self._wake(before)
        if after:
            self._children[kind, after].add(name)
            self._wake(after)

    def _node_changed(self, name: Name, old: ObservedNode | None, new: ObservedNode | None) -> None:
        if old == new:
            return
        self.queue_changed()
        for owned in self.pods.values():
            if owned.owner and owned.seen.pod.node == name.name:
                self._wake(owned.owner)


def _demands_differ(old: Stored | None, new: Stored | None, *, counts_cores: bool) -> bool:
    before, after = old.demand if old else None, new.demand if new else None
    if not counts_cores and not any(demand and demand.gpus for demand in (before, after)):
        return False
    return after.differs_from(before) if after else before is not None


def _deleting(owned: OwnedPod) -> OwnedPod:
    pod: ObservedPod = replace(owned.seen.pod, deleting=True)
    return replace(owned, seen=replace(owned.seen, pod=pod))


def _leaving(child: Child) -> Child:
    group: ObservedPodGroup = replace(child.seen, deleting=True)
    return replace(child, seen=group)


def _name(reference: Reference) -> Name:
    return Name(reference.namespace, reference.name)


def _reference(kind: str, name: Name) -> Reference:
    return Reference(kind=kind, namespace=name.namespace, name=name.name)
