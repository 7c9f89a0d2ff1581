"""From the store, live reads, reports and refusals to what planning is given for one key."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from pydantic import ValidationError

from oarlock_api.contract import TerminationRecord
from oarlock_api.v1alpha1.status import DatasetStatus, TrainingJobStatus
from oarlock_api.wire import OpenModel
from oarlock_operator import names, observing
from oarlock_operator.admission import Admission
from oarlock_operator.cluster_pods import ClusterPods
from oarlock_operator.errors import UnreadableStatusError
from oarlock_operator.kept_objects import Stored
from oarlock_operator.live_reads import LiveReads
from oarlock_operator.mirror import Name
from oarlock_operator.observing import SeenPod
from oarlock_operator.policy.rendezvous import is_joining
from oarlock_operator.progress import Progress
from oarlock_operator.reconcile.observed import (
    ObservedClaim,
    ObservedDataset,
    ObservedEarlierJob,
    ObservedImport,
    ObservedJob,
    ObservedPod,
    ObservedPodGroup,
    ObservedService,
    Refusal,
)
from oarlock_operator.reconcile.plans import Reference
from oarlock_operator.store import CLAIM, DATASET, JOB, Store

S = TypeVar("S", bound=OpenModel)


@dataclass(frozen=True, kw_only=True, slots=True)
class Gathered:
    """What planning is given for a key, and what the controller needs of it besides."""

    observed: ObservedJob | ObservedImport
    status: Mapping[str, Any]
    """The status as it is on the server."""
    look_again: float | None = None
    """When something that no watch shows should be read again."""


@dataclass(slots=True)
class _ReadDataset:
    """One version of a Dataset, read once."""

    stored: Stored
    raw: dict[str, Any]
    seen: ObservedDataset | None = None


@dataclass(slots=True)
class Gatherer:
    """Puts together what is known of one key."""

    store: Store
    reads: LiveReads
    progress: Progress
    cluster_pods: ClusterPods
    refusals: dict[Reference, dict[str, Refusal]] = field(default_factory=dict)
    datasets: dict[Name, _ReadDataset] = field(default_factory=dict)
    """Datasets as they were read last: every plan of each of their jobs needs them."""
    admission: Admission | None = None
    """The queue; None: there is none."""

    async def gather(self, key: Reference, *, confirmed: bool = False) -> Gathered | None:
        """Observe a key; None: it is gone.

        Raises:
            UnreadableStatusError.
            ClusterError: if a claim that no watch shows cannot be read.
        """
        raw = self.store.load(key)
        if raw is None:
            return None
        claims = self._claims_of(key, raw)
        brought = [Reference(kind=CLAIM, namespace=key.namespace, name=claim) for claim in self._unwatched(key, claims)]
        read = [*await self.reads.read(brought), *await self.reads.read_strangers(key)]
        gather = self._gather_job if key.kind == JOB else self._gather_import
        observed = gather(key, raw, claims=claims, read=read, confirmed=confirmed)
        if any(pod.unschedulable and not pod.scheduled for pod in observed.pods):
            rooms = await self.cluster_pods.measure_rooms(self.store.nodes.values())
            observed = replace(observed, rooms=rooms)
        if self.admission and isinstance(observed, ObservedJob):
            verdict = await self.admission.find_verdict(key, raw)
            observed = replace(observed, verdict=verdict, others_wait=self.admission.somebody_waits)
        look_again = self.reads.next_expiry(key, brought)
        return Gathered(observed=observed, status=raw.get("status") or {}, look_again=look_again)

    def forget(self, key: Reference) -> None:
        """Forget a key that is gone."""
        self.refusals.pop(key, None)
        self.datasets.pop(Name(key.namespace, key.name), None)
        self.reads.forget(key)
        if self.admission:
            self.admission.forget(key)
        self.progress.follow(key, None)

    def _gather_job(
        self, key: Reference, raw: Mapping[str, Any], *, claims: frozenset[str], read: list[Any], confirmed: bool
    ) -> ObservedJob:
        status = read_status(key, raw, TrainingJobStatus)
        uid = raw["metadata"]["uid"]
        seen = self._pods_of(key, read)
        self.progress.follow(key, _find_reporter(seen, uid=uid, attempt=status.attempt))
        self._follow_peers(key, seen, uid=uid, status=status)
        service = self.store.service_of(key, names.service_name(key.name, uid))
        return ObservedJob(
            object=observing.observe_object(raw),
            status=status,
            pods=_observed(seen),
            service=service or next((each for each in read if isinstance(each, ObservedService)), None),
            pod_groups=self._pod_groups_of(key, read),
            dataset=self._dataset_of(key, raw),
            earlier=self._earlier_job_of(key, raw),
            claims=self._find_claims(key, claims, read),
            report=self.progress.report(key),
            peers=self.progress.peer_reports(key),
            last_words=self._find_last_words(key, uid=uid),
            lost_nodes=self._lost_nodes(seen),
            usable_nodes=self.store.count_usable_nodes(),
            refusals=dict(self.refusals.get(key, {})),
            confirmed=confirmed,
        )

    def _follow_peers(self, key: Reference, seen: Iterable[SeenPod], *, uid: str, status: TrainingJobStatus) -> None:
        """Ask the agents of all ranks while rank 0's cannot know who is missing, or who does not move."""
        report = self.progress.report(key)
        pods = [each for each in seen if each.pod.owner_uid == uid and each.pod.attempt == status.attempt]
        peers = [each for each in pods if each.pod.rank > 0 and each.pod.phase == "Running"]
        said = report.status if report else None
        if status.completion_time is not None or not (is_joining(said) or (said and said.stalled)):
            peers = []
        # Most gangs meet within seconds; a hang was noticed late enough.
        delay = self.progress.first_delay if is_joining(said) else 0.0
        self.progress.follow_peers(key, peers, delay=delay)

    def _find_last_words(self, key: Reference, *, uid: str) -> TerminationRecord | None:
        words = self.store.last_words_of(key)
        return words if words and words.job_uid == uid else None

    def _gather_import(
        self, key: Reference, raw: Mapping[str, Any], *, claims: frozenset[str], read: list[Any], confirmed: bool
    ) -> ObservedImport:
        status = read_status(key, raw, DatasetStatus)
        seen = self._pods_of(key, read)
        self.progress.follow(key, _find_reporter(seen, uid=raw["metadata"]["uid"], attempt=status.attempt))
        return ObservedImport(
            object=observing.observe_object(raw),
            status=status,
            pods=_observed(seen),
            claims=self._find_claims(key, claims, read),
            report=self.progress.report(key),
            holders=tuple(self._find_holders(key, is_deleting="deletionTimestamp" in raw["metadata"])),
            lost_nodes=self._lost_nodes(seen),
            refusals=dict(self.refusals.get(key, {})),
            confirmed=confirmed,
        )

    def _find_holders(self, dataset: Reference, *, is_deleting: bool) -> Iterator[str]:
        """Yield the jobs that hold a Dataset: once it is to go, only those that have begun, since the others wait for it."""
        for user in self.store.users_of(dataset):
            if not is_deleting or self.store.has_begun(user):
                yield user.name

    def _pods_of(self, key: Reference, read: Iterable[Any]) -> list[SeenPod]:
        """Pods made for a key, and strangers that hold its names."""
        made = self.store.pods_of(key)
        known = {each.pod.uid for each in made}
        return [*made, *(each for each in read if isinstance(each, SeenPod) and each.pod.uid not in known)]

    def _pod_groups_of(self, key: Reference, read: Iterable[Any]) -> tuple[ObservedPodGroup, ...] | None:
        """PodGroups made for a job, and strangers that hold its names; None: they are not watched, or not listed yet."""
        made = self.store.pod_groups_of(key)
        strangers = tuple(each for each in read if isinstance(each, ObservedPodGroup))
        return (*made, *strangers) if made is not None else None

    def _claims_of(self, key: Reference, raw: Mapping[str, Any]) -> frozenset[str]:
        claims = observing.find_claims(raw)
        dataset = self._read_dataset(key, raw)
        if dataset:
            claims |= observing.find_claims({"metadata": {}, "status": dataset.raw.get("status")})
        if weights := self._find_weights_of_earlier_job(key, raw):
            claims |= {weights}
        self.store.use_claims(key, claims)
        return claims

    def _unwatched(self, key: Reference, claims: frozenset[str]) -> list[str]:
        """Claims that no watch shows: the names that we derive are ours, as a rule, until a creation says otherwise."""
        derived = {names.checkpoint_claim_name(key.name), names.data_claim_name(key.name)}
        return sorted(claim for claim in claims - derived if Name(key.namespace, claim) not in self.store.claims)

    def _find_claims(self, key: Reference, claims: frozenset[str], read: list[Any]) -> dict[str, ObservedClaim]:
        derived = names.checkpoint_claim_name(key.name) if key.kind == JOB else names.data_claim_name(key.name)
        found = {seen.name: self.store.explain_claim(seen) for seen in read if isinstance(seen, ObservedClaim)}
        for name in claims | {derived}:
            claim = self.store.claim(Name(key.namespace, name))
            if claim:
                found[name] = claim
        return found

    def _dataset_of(self, key: Reference, raw: Mapping[str, Any]) -> ObservedDataset | None:
        dataset = self._read_dataset(key, raw)
        if dataset is None:
            return None
        if dataset.seen is None:
            reference = Reference(kind=DATASET, namespace=key.namespace, name=dataset.raw["metadata"]["name"])
            status = read_status(reference, dataset.raw, DatasetStatus)
            dataset.seen = ObservedDataset(object=observing.observe_object(dataset.raw), status=status)
        return dataset.seen

    def _read_dataset(self, key: Reference, raw: Mapping[str, Any]) -> _ReadDataset | None:
        reference = (raw.get("spec") or {}).get("dataset") if key.kind == JOB else None
        name = reference.get("name") if isinstance(reference, Mapping) else None
        if not isinstance(name, str):
            return None
        place = Name(key.namespace, name)
        stored = self.store.datasets.get(place)
        if stored is None:
            self.datasets.pop(place, None)
            return None
        if place not in self.datasets or self.datasets[place].stored is not stored:
            self.datasets[place] = _ReadDataset(stored=stored, raw=stored.load())
        return self.datasets[place]

    def _earlier_job_of(self, key: Reference, raw: Mapping[str, Any]) -> ObservedEarlierJob | None:
        """Return the job that `model.initFrom` names; once a run is accepted, it holds what was needed of that one."""
        earlier = self._load_earlier_job(key, raw)
        if earlier is None:
            return None
        reference = Reference(kind=JOB, namespace=key.namespace, name=earlier["metadata"]["name"])
        return ObservedEarlierJob(
            object=observing.observe_object(earlier), status=read_status(reference, earlier, TrainingJobStatus)
        )

    def _find_weights_of_earlier_job(self, key: Reference, raw: Mapping[str, Any]) -> str:
        """Return the claim that a job needs before it is accepted; empty if it needs none, or none is known yet."""
        earlier = self._load_earlier_job(key, raw)
        return observing.find_checkpoint_claim(earlier) if earlier else ""

    def _load_earlier_job(self, key: Reference, raw: Mapping[str, Any]) -> dict[str, Any] | None:
        name = observing.find_earlier_job(raw) if key.kind == JOB else ""
        stored = self.store.jobs.get(Name(key.namespace, name)) if name else None
        return stored.load() if stored else None

    def _lost_nodes(self, seen: Iterable[SeenPod]) -> frozenset[str]:
        return frozenset(each.pod.node for each in seen if self.store.is_lost(each.pod.node))


def read_status(key: Reference, raw: Mapping[str, Any], model: type[S]) -> S:
    """Read the status of a custom object.

    Raises:
        UnreadableStatusError.
    """
    try:
        return model.from_wire(raw.get("status") or {})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(["status", *(str(part) for part in first["loc"])])
        raise UnreadableStatusError(key, f"{where}: {first['msg']}") from error


def _find_reporter(seen: Iterable[SeenPod], *, uid: str, attempt: int) -> SeenPod | None:
    """Return the pod that speaks for the attempt: rank 0, or the import."""
    ours = (each for each in seen if each.pod.owner_uid == uid and each.pod.role != names.CHECK_ROLE)
    return next((each for each in ours if each.pod.attempt == attempt and each.pod.rank <= 0), None)


def _observed(seen: Iterable[SeenPod]) -> tuple[ObservedPod, ...]:
    return tuple(each.pod for each in seen)
