"""The loop: observe, plan, apply, over any cluster.

Whatever happens only ever says which keys to look at again. A key that fails stops nobody else and is tried again, later each
time. Nothing is remembered that could not be observed anew, so that the process may be killed at any line.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any

from oarlock_operator.admission import Admission
from oarlock_operator.applying import Applier, describe
from oarlock_operator.clock import Clock, SystemClock
from oarlock_operator.cluster.port import (
    Cluster,
    ConflictError,
    NotFoundError,
    RefusedError,
    UnavailableError,
    WatchEvent,
)
from oarlock_operator.cluster_pods import ClusterPods
from oarlock_operator.errors import PlanError, UnreadableStatusError
from oarlock_operator.gathering import Gathered, Gatherer
from oarlock_operator.keyed_queue import KeyedQueue
from oarlock_operator.leading_writes import Alone, LeadersCluster, Leadership
from oarlock_operator.live_reads import LiveReads
from oarlock_operator.metrics import Metrics
from oarlock_operator.names import MANAGED_BY, MANAGED_BY_LABEL
from oarlock_operator.progress import Progress
from oarlock_operator.reconcile.dataset import plan_dataset
from oarlock_operator.reconcile.observed import ObservedJob
from oarlock_operator.reconcile.plans import Plan, Reference
from oarlock_operator.reconcile.training_job import plan_job
from oarlock_operator.settings import Settings
from oarlock_operator.store import CHILD_KINDS, CUSTOM_KINDS, EVENT, JOB, NODE, POD_GROUP, Store
from oarlock_operator.watching import Watching
from oarlock_operator.write_budget import WriteBudget

_log = logging.getLogger(__name__)

_WORKERS = 64
"""Keys that are processed side by side. Each waits for the server most of its time, and what a burst waits for is their number; the
client keeps a hundred connections, of which watches and the Lease need theirs.
"""
_ROUNDS = 5
"""Times that a key is planned anew in one go when conflicts show that it was out of date."""
_MEASURE_SECONDS = 5.0
_ABSENT_SECONDS = 3.0
"""Seconds after which a kind that the cluster does not know is looked for again."""


class Controller:
    """Brings a cluster to what its Datasets and TrainingJobs ask for.

    Custom objects are fed by `feed`, or watched like everything else with `watch_custom_resources`. Without `leadership` it
    watches, so that it knows everything when it gets it, and neither plans nor writes.
    """

    def __init__(
        self,
        cluster: Cluster,
        settings: Settings,
        clock: Clock | None = None,
        *,
        metrics: Metrics | None = None,
        watch_custom_resources: bool = False,
        leadership: Leadership | None = None,
    ) -> None:
        self._leadership = leadership or Alone()
        cluster = LeadersCluster(cluster, self._leadership)
        self._cluster, self._settings = cluster, settings
        self.clock, self._metrics = clock or SystemClock(), metrics or Metrics()
        self.queue: KeyedQueue[Reference] = KeyedQueue(clock=self.clock)
        self.store = Store(wake=self.queue.add)
        self._progress = Progress(
            cluster, settings=settings, clock=self.clock, metrics=self._metrics, changed=self._take_report
        )
        self._reads = LiveReads(cluster, self.clock)
        cluster_pods = ClusterPods(cluster, self.clock, namespace=settings.namespace)
        self._gatherer = Gatherer(self.store, self._reads, self._progress, cluster_pods)
        self._budget = WriteBudget(settings, self.clock)
        self._applier = Applier(cluster, self._gatherer, self._budget, self.clock, self._metrics)
        self.watching = Watching(
            cluster,
            self.store,
            namespace=settings.namespace or None,
            clock=self.clock,
            metrics=self._metrics,
            relisted=self._note_relisting,
        )
        self.admission = self._gatherer.admission = Admission(
            cluster,
            self.store,
            settings,
            self.clock,
            self._metrics,
            cluster_pods=cluster_pods,
            wake=self.queue.add,
            wake_at=self.queue.add_at,
        )
        self._watch_custom_resources = watch_custom_resources
        self.lag = 0.0
        """Seconds by which the event loop was late, lately."""

    def feed(self, kind: str, event: WatchEvent) -> None:
        """Take what somebody else's watch brings of a custom kind."""
        self.watching.take(kind, event)

    def take_over(self) -> None:
        """Look at everything: from now on this operator is the one that writes."""
        self.queue.forgive_all()
        self.admission.take_over()
        for key in tuple(self.store.keys()):
            self.queue.add(key)

    def step_down(self) -> None:
        """Show no figures of jobs any more: whoever writes now does."""
        self._metrics.show_phases({})
        for key in tuple(self.store.keys()):
            self._metrics.show_goodput(key, None)

    def hint_relist(self, kind: str) -> None:
        """Note that somebody else's watch began anew: what went meanwhile is found by a comparison soon."""
        self.watching.compare_soon(kind)

    async def run(self) -> None:
        """Work until cancelled.

        Raises:
            RefusedError: the cluster does not let us watch what we need.
        """
        async with asyncio.TaskGroup() as group:
            for loop in self._background():
                group.create_task(loop)
            await self.watching.wait_until_listed()
            _log.info("everything is listed: %d objects", len(self.store.jobs) + len(self.store.datasets))
            for _ in range(_WORKERS):
                group.create_task(self._work())

    def _background(self) -> Sequence[Coroutine[Any, Any, None]]:
        ours = {MANAGED_BY_LABEL: MANAGED_BY}
        custom = [
            self.watching.watch(kind) if self._watch_custom_resources else self.watching.introduce(kind)
            for kind in CUSTOM_KINDS
        ]
        return [
            *custom,
            *(self.watching.watch(kind, labels=ours) for kind in CHILD_KINDS),
            self._watch_nodes(),
            *((self._watch_pod_groups(ours),) if self._settings.pod_groups else ()),
            self.watching.watch(EVENT, is_optional=True),
            self._run_admission(),
            self.admission.run_refreshes(),
            self.watching.run_comparisons(self._settings.resync_seconds, compared=self._resync),
            self.watching.run_echo_checks(),
            self.queue.run_timers(),
            self._progress.run_timers(),
            *(self._progress.run_worker() for _ in range(self._progress.workers)),
            self._measure(),
        ]

    async def _watch_nodes(self) -> None:
        await self.watching.watch(NODE, is_optional=True)
        self.admission.turn_off("the operator's account may not read nodes, and no queue budget is set")

    async def _watch_pod_groups(self, labels: Mapping[str, str]) -> None:
        """Follow the PodGroups of a scheduler that may be installed later, or removed."""
        while True:
            await self.watching.watch(POD_GROUP, labels=labels, may_be_absent=True)
            self.admission.note_pod_groups(are_served=False)
            await self.clock.sleep(_ABSENT_SECONDS)

    def _note_relisting(self, kind: str) -> None:
        self.queue.forgive_all()
        if kind == POD_GROUP:
            self.admission.note_pod_groups(are_served=True)

    async def _run_admission(self) -> None:
        await self.watching.wait_until_listed()
        await self.admission.run(leads=self._leadership.wait)

    async def _work(self) -> None:
        while True:
            async with self.queue.take() as key:
                await self._leadership.wait()
                await self.process(key)

    async def process(self, key: Reference) -> None:
        """Reconcile a key; whatever fails is counted, logged and tried again."""
        began = time.perf_counter()
        result = "done"
        try:
            result = await self.reconcile(key)
            self.queue.forgive(key)
        except UnavailableError as error:
            result = "unavailable"
            delay = self.queue.punish(key, at_least=error.retry_after)
            _log.warning("%s waits %.1f s for the cluster: %s", describe(key), delay, error)
        except UnreadableStatusError as error:
            result = "error"
            self._metrics.count_error(where="reconcile", error=error)
            delay = self.queue.punish(key)
            _log.error("%s cannot be read, next try in %.1f s: %s", describe(key), delay, error)  # no error of ours
        except Exception as error:  # noqa: BLE001  # a key that fails stops nobody else, whatever it fails of
            result = "error"
            self._metrics.count_error(where="reconcile", error=error)
            delay = self.queue.punish(key)
            _log.exception("%s failed, next try in %.1f s", describe(key), delay)
        seconds = time.perf_counter() - began
        self._metrics.count_reconcile(kind=key.kind, result=result, seconds=seconds)

    async def reconcile(self, key: Reference) -> str:
        """Observe, plan and apply for one key, anew as long as others change it meanwhile; return how it went.

        Raises:
            ClusterError, OperatorError.
        """
        for _ in range(_ROUNDS):
            asked = self.store.mark(key.kind)
            try:
                return await self._reconcile_once(key)
            except ConflictError:
                await self._applier.read_live([key])
            except NotFoundError as error:
                if error.reference not in {None, key}:
                    raise
                self.store.forget(key, asked=asked)
        raise UnavailableError("others change the object faster than it can be planned", reference=key)

    async def _reconcile_once(self, key: Reference) -> str:
        await self._applier.read_live(self.store.doubts(key), key=key)
        gathered = await self._gatherer.gather(key)
        if gathered is None:
            self._gatherer.forget(key)
            self._budget.forget(key)
            self._metrics.show_goodput(key, None)
            return "gone"
        plan = self._plan(gathered)
        if plan.confirm:
            before = gathered.observed.object.resource_version
            await self._applier.read_live([*plan.confirm, *self.store.lost_nodes_of(key)], key=key)
            if any(doubt.kind != NODE for doubt in self.store.doubts(key)):
                raise ConflictError("something changed while it was read", reference=key)
            gathered = await self._gatherer.gather(key, confirmed=True)
            if gathered is None:
                return "gone"
            if gathered.observed.object.resource_version != before:
                # The plan may have asked for the pods of another attempt than the object now speaks of.
                raise ConflictError("the object changed while it was confirmed", reference=key)
            plan = self._plan(gathered)
            if plan.confirm:
                raise PlanError(f"planning {describe(key)} asks to confirm {plan.confirm} again")
        deferred = await self._applier.apply(key, gathered, plan)
        for other in plan.others:
            self.queue.add(other)
        for when in (plan.wake_at, gathered.look_again, deferred):
            if when is not None:
                self.queue.add_at(key, when)
        return "done"

    def _plan(self, gathered: Gathered) -> Plan:
        observed = gathered.observed
        if isinstance(observed, ObservedJob):
            key = Reference(kind=JOB, namespace=observed.object.namespace, name=observed.object.name)
            self._metrics.show_goodput(key, observed.status.goodput)
            return plan_job(observed, now=self.clock.now(), settings=self._settings)
        return plan_dataset(observed, now=self.clock.now(), settings=self._settings)

    def _take_report(self, key: Reference, is_urgent: bool) -> None:  # noqa: FBT001
        """Plan at once with what a person waits for; with mere progress, when it may be written."""
        earliest = None if is_urgent else self._budget.earliest(key)
        if earliest is None:
            self.queue.add(key)
        else:
            self.queue.add_at(key, earliest)

    async def _resync(self, *, is_full: bool) -> None:
        """Read what is in doubt; after a comparison of everything, plan every key, spread over time."""
        try:
            await self._applier.read_live(self.store.stray_doubts())
        except (UnavailableError, RefusedError) as error:
            _log.warning("differences stay in doubt until they can be read: %s", error)
        self._reads.prune()
        if is_full:
            self._plan_all()

    def _plan_all(self) -> None:
        keys = list(self.store.keys())
        now, span = self.clock.now(), self._settings.resync_seconds / 2
        for index, key in enumerate(keys):
            self.queue.add_at(key, now + span * index / len(keys))

    async def _measure(self) -> None:
        while True:
            began = time.monotonic()
            await asyncio.sleep(_MEASURE_SECONDS)
            self.lag = max(0.0, time.monotonic() - began - _MEASURE_SECONDS)
            self._metrics.show_lag(self.lag)
            self._metrics.show_queue(waiting=len(self.queue), active=self.queue.active)
            if self._leadership.is_held():
                self._metrics.show_phases(Counter(self.store.phases()))
