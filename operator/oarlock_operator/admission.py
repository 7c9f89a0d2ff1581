"""The queue at work: gathers what there is, has `queueing.admit` decide, and wakes the jobs that concerns.

What it knows may vanish at any time: a verdict counts once it is in a job's status. Until then a place that was granted is
kept in memory, so that nobody else gets it before the write is done.
"""

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from oarlock_api.v1alpha1.status import FINISHED_JOB_PHASES
from oarlock_operator.clock import Clock
from oarlock_operator.cluster.port import Cluster, ClusterError
from oarlock_operator.cluster_pods import ClusterPods
from oarlock_operator.handing_over import HandingOver
from oarlock_operator.metrics import Metrics
from oarlock_operator.mirror import Name
from oarlock_operator.observing import SeenPod
from oarlock_operator.policy.cleanup import has_left
from oarlock_operator.queueing.admit import admit
from oarlock_operator.queueing.capacity import BUDGET, Capacity, Occupied, build_budget, parse_budget
from oarlock_operator.queueing.demand import Demand, find_needs
from oarlock_operator.queueing.jobs import Needs, QueuedJob
from oarlock_operator.queueing.leaving import find_leaving, keeps_pods
from oarlock_operator.queueing.placement import Placement
from oarlock_operator.queueing.verdicts import QUEUE_OFF, Stand, Verdict
from oarlock_operator.reconcile.observed import ObservedPod
from oarlock_operator.reconcile.plans import Reference
from oarlock_operator.settings import Settings
from oarlock_operator.store import JOB, Store

_log = logging.getLogger(__name__)

_BURST_SECONDS = 0.2
"""Seconds for which changes are collected before a decision."""
_PAUSE_SECONDS = 0.8
_REFRESH_SECONDS = 30.0
"""Seconds between two decisions while somebody waits and nothing is seen to change: foreign pods, expected ends."""
_FRESH_SECONDS = 5.0
"""Most seconds ago that foreign pods were read when a place is given away."""
_GRANT_SECONDS = 60.0
"""Seconds for which a place is kept whose verdict is not in the status yet: longer than any request takes."""
_MANY = 500
"""Jobs of which it takes long to decide."""
_AT_ONCE = 32
"""Jobs that are told at once where they stand; a second later as many of those behind them, and so on."""
_LONGEST_DELAY = 300.0
"""Seconds after which a job far back in the queue is told of its new place."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Grant:
    until: float
    nodes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Known:
    uid: str
    verdict: Verdict


class Admission:
    """Verdicts on all jobs; all methods belong to one event loop."""

    def __init__(
        self,
        cluster: Cluster,
        store: Store,
        settings: Settings,
        clock: Clock,
        metrics: Metrics,
        *,
        cluster_pods: ClusterPods,
        wake: Callable[[Reference], None],
        wake_at: Callable[[Reference, float], None],
    ) -> None:
        """Make the queue.

        Raises:
            ValueError: a setting makes no sense.
        """
        self._cluster, self._store, self._clock, self._metrics = cluster, store, clock, metrics
        self._wake, self._wake_at = wake, wake_at
        self._budget = parse_budget(settings.queue_budget) if settings.queue_budget else None
        self._handing_over = HandingOver(cluster, clock, settings)
        self._off = say_why_off(settings)
        self._cluster_pods = cluster_pods
        self._known: dict[Reference, _Known] = {}
        self._grants: dict[str, _Grant] = {}
        self.somebody_waits = False
        """Whether jobs wait that would fit if there were room."""
        self._changed = asyncio.Event()
        store.queue_changed, store.counts_cores = self._changed.set, self._budget is not None

    def turn_off(self, why: str) -> None:
        """Let everybody in from now on, as where nodes cannot be seen."""
        if self._budget is None and not self._off:
            self._off = why
            _log.warning("the queue is off: %s", why)
            self._wake_all()

    def note_pod_groups(self, *, are_served: bool) -> None:
        """Note whether the cluster knows the PodGroups of the scheduler to which gangs are handed over."""
        if self._handing_over.note_pod_groups(are_served=are_served):
            self._wake_all()

    async def find_verdict(self, key: Reference, raw: Mapping[str, Any]) -> Verdict | None:
        """Return what is decided of a job; None: nothing yet.

        Raises:
            ClusterError: it cannot be found out who decides.
        """
        policy = (raw.get("spec") or {}).get("runPolicy")
        queue = policy.get("queue") if isinstance(policy, Mapping) else None
        if self._handing_over.takes(queue):
            return await self._handing_over.find_verdict(str(queue) if queue else None)
        if self._off:
            return Verdict(stand=Stand.ADMITTED, reason=QUEUE_OFF, message=self._off)
        known = self._known.get(key)
        if known is None or known.uid != raw["metadata"].get("uid"):
            return None
        if known.verdict.stand is Stand.PREEMPTED and not self._still_waits(known.verdict):
            return None
        return known.verdict

    def _wake_all(self) -> None:
        for name in self._store.jobs:
            self._wake(Reference(kind=JOB, namespace=name.namespace, name=name.name))

    def forget(self, key: Reference) -> None:
        self._known.pop(key, None)

    def take_over(self) -> None:
        """Decide from what the statuses say: another operator may have given away what was granted here."""
        self._grants.clear()
        self._known.clear()
        self._changed.set()

    async def run(self, *, leads: Callable[[], Awaitable[None]]) -> None:
        """Decide whenever something changes, about once a second at most, for ever; `leads` waits until this is ours to do."""
        _log.info("the queue is %s", f"off: {self._off}" if self._off else "on")
        while True:
            await self._changed.wait()
            await self._clock.sleep(_BURST_SECONDS)
            await leads()
            self._changed.clear()
            try:
                await self.decide()
            except ClusterError as error:
                _log.warning("the queue decides later: %s", error)
                self._changed.set()
            except Exception as error:  # noqa: BLE001  # whatever it is, jobs must not wait for ever
                self._metrics.count_error(where="queue", error=error)
                _log.exception("the queue failed")
                self._changed.set()
            await self._clock.sleep(_PAUSE_SECONDS)

    async def run_refreshes(self) -> None:
        """Have it decided anew now and then while somebody waits, for ever."""
        while True:
            await self._clock.sleep(_REFRESH_SECONDS)
            if any(known.verdict.stand is Stand.WAITING for known in self._known.values()):
                self._changed.set()

    async def decide(self) -> None:
        """Decide of all jobs, and wake those that must know.

        Raises:
            ClusterError: what there is cannot be read.
        """
        if self._off or (self._budget is None and not self._store.nodes.is_listed):
            return
        began, now = time.perf_counter(), self._clock.now()
        demands = list(self._list_demands())
        # A job that was suspended meanwhile has given its grant back.
        listed = {demand.uid for _, demand in demands}
        self._grants = {uid: each for uid, each in self._grants.items() if each.until > now and uid in listed}
        keys, jobs = {}, []
        bound = self._find_bound()
        for key, demand in demands:
            if job := self._build_job(key, demand, bound.get(demand.uid, ()), now=now):
                keys[job.uid] = key
                jobs.append(job)
        verdicts = await _decide(jobs, await self._measure(jobs), now=now)
        if any(_is_new(job, verdicts[job.uid]) for job in jobs):
            # Nothing is given away on the word of an old list.
            verdicts = await _decide(jobs, await self._measure(jobs, max_age=_FRESH_SECONDS), now=now)
        self._metrics.count_decision(seconds=time.perf_counter() - began)
        self._deliver(jobs, keys, verdicts, now=now)

    def _list_demands(self) -> Iterator[tuple[Reference, Demand]]:
        for name in self._store.jobs:
            stored = self._store.jobs.get(name)
            if stored and stored.demand:
                yield Reference(kind=JOB, namespace=name.namespace, name=name.name), stored.demand

    def _find_bound(self) -> dict[str, list[str]]:
        """Return the nodes of all pods that take what is counted, by their owner."""
        bound = defaultdict(list)
        for owned in self._store.pods.values():
            pod = owned.seen.pod
            if pod.node and not has_left(pod) and self._count(owned.seen) and not self._store.is_lost(pod.node):
                bound[pod.owner_uid].append(pod.node)
        return bound

    def _build_job(self, key: Reference, demand: Demand, bound: Sequence[str], *, now: float) -> QueuedJob | None:
        needs = find_needs(
            gpus=demand.gpus,
            gpu_resource=demand.gpu_resource,
            cpu=demand.cpu,
            memory=demand.memory,
            budget=self._budget,
        )
        if not needs or (demand.is_handed_over and not bound):
            return None
        grant = self._grants.get(demand.uid)
        is_budget = self._budget is not None
        # An elastic job may have been granted fewer than it asked for.
        wanted = len(grant.nodes) if grant and not demand.is_admitted else demand.pods
        return QueuedJob(
            uid=demand.uid,
            namespace=key.namespace,
            name=key.name,
            priority=demand.priority,
            created=demand.created,
            since=demand.since,
            # A pod of the attempt before may still be there beside those of the new one.
            pods=len(bound) if demand.is_handed_over else max(wanted, len(bound)),
            least=demand.least,
            settled=demand.pods,
            wanted=demand.wanted,
            needs=needs,
            placement=Placement() if is_budget else demand.find_placement(now=now),
            is_admitted=demand.is_admitted or demand.is_handed_over or grant is not None,
            may_be_preempted=not demand.is_handed_over,
            bound=() if is_budget else tuple(bound),
            planned=grant.nodes if grant else (),
            ends=demand.ends,
        )

    async def _measure(self, jobs: Sequence[QueuedJob], *, max_age: float = _REFRESH_SECONDS) -> Capacity:
        leaving = tuple(self._find_leaving({job.uid for job in jobs if job.is_admitted}))
        if self._budget is not None:
            return build_budget(self._budget, leaving)
        waits = any(not job.is_admitted for job in jobs)
        foreign = await self._cluster_pods.list_foreign(max_age=max_age) if waits else ()
        return Capacity(nodes=tuple(self._store.nodes.values()), occupied=(*leaving, *foreign))

    def _find_leaving(self, admitted: set[str]) -> Iterator[Occupied]:
        """Yield what pods take whose job has no place any more."""
        now = self._clock.now()
        for owned in self._store.pods.values():
            pod, needs = owned.seen.pod, self._count(owned.seen)
            is_ours = owned.owner is not None and (owned.owner.kind == JOB or self._budget is None)
            if not needs or not is_ours or pod.owner_uid in admitted:
                continue
            place = pod.node if self._budget is None else BUDGET
            if leaving := find_leaving(pod, needs, place=place, is_kept=self._is_kept(owned.owner, pod), now=now):
                yield leaving

    def _count(self, seen: SeenPod) -> Needs:
        """Return what is counted of what a pod takes: cores and memory only where a budget names them."""
        if self._budget is None:
            return seen.devices
        return tuple((name, amount) for name, amount in (*seen.devices, *seen.asks) if name in self._budget)

    def _is_kept(self, key: Reference | None, pod: ObservedPod) -> bool:
        """Whether the job for which a pod was made has ended and keeps it."""
        job = self._store.jobs.get(Name(key.namespace, key.name)) if key and key.kind == JOB else None
        if job is None or job.uid != pod.owner_uid or job.phase not in FINISHED_JOB_PHASES or has_left(pod):
            return False
        return keeps_pods(job.load())

    def _deliver(
        self, jobs: list[QueuedJob], keys: dict[str, Reference], verdicts: dict[str, Verdict], *, now: float
    ) -> None:
        before, self._known = self._known, {}
        for job in jobs:
            key, verdict = keys[job.uid], verdicts[job.uid]
            self._known[key] = _Known(uid=job.uid, verdict=verdict)
            known = before.get(key)
            old = known.verdict if known and known.uid == job.uid else None
            if _is_news(job, old, verdict):
                self._note_news(job, verdict, now=now)
                self._tell(key, verdict, now=now)
            elif old and (old.position, old.expected_start) != (verdict.position, verdict.expected_start):
                self._wake_at(key, now + min(verdict.position or 0, _LONGEST_DELAY))
        waiting = [verdict for verdict in verdicts.values() if verdict.stand is Stand.WAITING]
        self.somebody_waits = any(verdict.reason != "NoSuchNodes" for verdict in waiting)
        self._metrics.show_waiting(len(waiting))

    def _tell(self, key: Reference, verdict: Verdict, *, now: float) -> None:
        """Have a job planned with its verdict: at once, but for those far back in a long queue."""
        if verdict.stand is Stand.WAITING and (verdict.position or 0) > _AT_ONCE:
            self._wake_at(key, now + min((verdict.position or 0) / _AT_ONCE, _LONGEST_DELAY))
        else:
            self._wake(key)

    def _note_news(self, job: QueuedJob, verdict: Verdict, *, now: float) -> None:
        if _is_new(job, verdict):
            self._grants[job.uid] = _Grant(until=now + _GRANT_SECONDS, nodes=verdict.nodes)
            self._metrics.count_admission(seconds=max(0.0, now - job.since))
            _log.info("job %s may start: %s", job.title, verdict.message)
        elif verdict.stand is Stand.PREEMPTED:
            self._grants.pop(job.uid, None)
            self._metrics.count_preemption()
            _log.info("job %s is %s", job.title, verdict.message)

    def _still_waits(self, verdict: Verdict) -> bool:
        """Whether the job for which another one gives its place still wants it."""
        namespace, _, name = verdict.winner.partition("/")
        stored = self._store.jobs.get(Name(namespace, name))
        demand = stored.demand if stored else None
        return demand is not None and demand.uid == verdict.preempted_by and not demand.is_admitted


async def _decide(jobs: Sequence[QueuedJob], capacity: Capacity, *, now: float) -> dict[str, Verdict]:
    """Decide, beside the event loop where that takes long: all that it works on is frozen."""
    if len(jobs) < _MANY:
        return admit(jobs, capacity, now=now)
    return await asyncio.to_thread(admit, jobs, capacity, now=now)


def _is_new(job: QueuedJob, verdict: Verdict) -> bool:
    return verdict.stand is Stand.ADMITTED and not job.is_admitted


def _is_news(job: QueuedJob, old: Verdict | None, verdict: Verdict) -> bool:
    """Whether a job must learn of a verdict at once."""
    if old is None:
        return not (job.is_admitted and verdict.stand is Stand.ADMITTED) or verdict.most is not None
    return old.essence != verdict.essence


def say_why_off(settings: Settings) -> str:
    """Return why there is no queue; empty if there is one.

    Raises:
        ValueError: the setting makes no sense.
    """
    if settings.queueing not in {"auto", "on", "off"}:
        raise ValueError(f"OARLOCK_OPERATOR_QUEUEING must be auto, on or off, got {settings.queueing!r}")
    if settings.is_local:
        return "this machine has no queue: pods start as soon as they fit on it"
    if settings.pod_groups:
        return f"all jobs are handed over to {settings.pod_groups}"
    if settings.queueing == "off":
        return "the administrator has turned queueing off: pods are created at once"
    if settings.namespace and not settings.queue_budget and settings.queueing == "auto":
        return "an operator of one namespace cannot see nodes, and no queue budget is set: pods are created at once"
    return ""
