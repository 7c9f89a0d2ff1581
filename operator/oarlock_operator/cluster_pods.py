"""What all pods of the cluster take, those of others too: no watch shows them, so that they are listed now and then, once for all.

Reading is dear where the cluster is large, and may be refused: an installation without rights on all namespaces does without.
"""

import asyncio
import logging
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from oarlock_operator import observing
from oarlock_operator.clock import Clock
from oarlock_operator.cluster.port import Cluster, ClusterError, RefusedError
from oarlock_operator.names import MANAGED_BY, MANAGED_BY_LABEL
from oarlock_operator.observing import Object
from oarlock_operator.policy.rooms import Use, count_use, measure_rooms
from oarlock_operator.queueing.capacity import Occupied
from oarlock_operator.reconcile.observed import ObservedNode, Room

_log = logging.getLogger(__name__)

_AGE_SECONDS = 20.0
"""Seconds for which figures that are only told to people count, and for which a failure does."""
_FIRST_REFUSAL_SECONDS = 30.0
_LONGEST_REFUSAL_SECONDS = 600.0
"""Servers that start refuse for a moment what they allow: it is asked again soon, and twice as late each time."""
_COST = 20.0
"""Reading takes at most one part in so many of the time."""
_MANY = 2000
"""Pods that take long to count."""
_ENDED = frozenset({"Succeeded", "Failed"})


@dataclass(frozen=True, kw_only=True, slots=True)
class _Taken:
    use: Use | None
    """By node; None: it may not be known."""
    foreign: tuple[Occupied, ...] = ()
    """Devices that pods take which are not ours."""


class ClusterPods:
    """What pods take, as it was read last; whoever asks while it is read waits for that."""

    def __init__(self, cluster: Cluster, clock: Clock, *, namespace: str) -> None:
        """Make it for an operator of one namespace, or if that is empty, of all."""
        self._cluster, self._clock, self._namespace = cluster, clock, namespace
        self._lock = asyncio.Lock()
        self._taken = _Taken(use=None)
        self._read_at, self._least_age = -math.inf, 0.0
        self._refused_for = 0.0
        self._failed_at, self._failure = -math.inf, ClusterError("nothing was read yet")

    async def measure_rooms(self, nodes: Iterable[ObservedNode]) -> tuple[Room, ...]:
        """Return the nodes with what is free on them, as far as it can be known."""
        if self._lock.locked() and self._taken.use is not None:
            return measure_rooms(
                nodes, self._taken.use
            )  # newer figures that are only told to people are worth no waiting
        try:
            taken = await self._read(_AGE_SECONDS, failure_age=_AGE_SECONDS)
        except ClusterError:
            return measure_rooms(nodes, None)  # it is a courtesy: planning goes on without
        return measure_rooms(nodes, taken.use)

    async def list_foreign(self, *, max_age: float) -> tuple[Occupied, ...]:
        """Return what pods of others take, as of `max_age` seconds ago at most, or longer where the cluster is large.

        Raises:
            ClusterError.
        """
        return (await self._read(max_age)).foreign

    async def _read(self, max_age: float, *, failure_age: float = 0.0) -> _Taken:
        async with self._lock:
            now = self._clock.monotonic()
            if now < self._failed_at + failure_age:
                raise self._failure
            if now >= self._read_at + max(max_age, self._least_age):
                await self._list(now)
            return self._taken

    async def _list(self, began: float) -> None:
        try:
            pods = await self._cluster.list("Pod")
        except RefusedError as error:
            self._note_refusal(error)
        except ClusterError as error:
            self._failed_at, self._failure = began, error
            raise
        else:
            is_quick = len(pods) < _MANY
            self._taken = self._count(pods) if is_quick else await asyncio.to_thread(self._count, pods)
            self._refused_for, self._least_age = 0.0, _COST * (self._clock.monotonic() - began)
        self._read_at = began

    def _note_refusal(self, error: RefusedError) -> None:
        level = logging.INFO if self._refused_for else logging.WARNING
        _log.log(level, "what pods of others take is not seen, neither by the queue nor in messages: %s", error)
        again = max(_FIRST_REFUSAL_SECONDS, 2 * self._refused_for)
        self._refused_for = self._least_age = min(again, _LONGEST_REFUSAL_SECONDS)
        self._taken = _Taken(use=None)

    def _count(self, pods: Sequence[Object]) -> _Taken:
        return _Taken(use=count_use(pods), foreign=tuple(self._find_foreign(pods)))

    def _find_foreign(self, pods: Iterable[Object]) -> Iterator[Occupied]:
        for pod in pods:
            spec, is_ended = pod.get("spec") or {}, (pod.get("status") or {}).get("phase") in _ENDED
            devices = observing.observe_devices(spec)
            if devices and spec.get("nodeName") and not is_ended and not self._is_ours(pod):
                yield Occupied(node=spec["nodeName"], needs=devices)

    def _is_ours(self, pod: Object) -> bool:
        metadata = pod["metadata"]
        is_managed = (metadata.get("labels") or {}).get(MANAGED_BY_LABEL) == MANAGED_BY
        return is_managed and self._namespace in {"", metadata.get("namespace", "")}
