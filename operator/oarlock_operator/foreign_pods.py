"""What pods of others take of the nodes' devices: read now and then while jobs of ours wait, since no watch shows them."""

import logging
import math
from collections.abc import Iterable, Iterator

from oarlock_operator import observing
from oarlock_operator.clock import Clock
from oarlock_operator.cluster.port import Cluster, RefusedError
from oarlock_operator.names import MANAGED_BY, MANAGED_BY_LABEL
from oarlock_operator.observing import Object
from oarlock_operator.queueing.capacity import Occupied

_log = logging.getLogger(__name__)

_AGE_SECONDS = 30.0
_REFUSED_AGE_SECONDS = 600.0
_COST = 20.0
"""Reading takes at most one part in so many of the time: it is a list of all pods of the cluster, page by page."""
_ENDED = frozenset({"Succeeded", "Failed"})


class ForeignPods:
    """Pods of the whole cluster that take devices and are not ours."""

    def __init__(self, cluster: Cluster, clock: Clock, *, namespace: str) -> None:
        """Make it for an operator of one namespace, or if that is empty, of all."""
        self._cluster, self._clock, self._namespace = cluster, clock, namespace
        self._read_at, self._least_age = -math.inf, 0.0
        self._pods: tuple[Occupied, ...] = ()

    async def list(self, *, max_age: float = _AGE_SECONDS) -> tuple[Occupied, ...]:
        """Return what they take, as of `max_age` seconds ago at most, or longer where the cluster is large.

        Raises:
            ClusterError.
        """
        began = self._clock.now()
        if not self._read_at <= began < self._read_at + max(max_age, self._least_age):
            try:
                self._pods = tuple(self._find_occupied(await self._cluster.list("Pod")))
                self._least_age = _COST * (self._clock.now() - began)
            except RefusedError as error:
                self._pods, self._least_age = (), _REFUSED_AGE_SECONDS
                _log.warning("the queue does not see what pods of others take, and does without: %s", error)
            self._read_at = began
        return self._pods

    def _find_occupied(self, pods: Iterable[Object]) -> Iterator[Occupied]:
        for pod in pods:
            spec, is_ended = pod.get("spec") or {}, (pod.get("status") or {}).get("phase") in _ENDED
            devices = observing.observe_devices(spec)
            if devices and spec.get("nodeName") and not is_ended and not self._is_ours(pod):
                yield Occupied(node=spec["nodeName"], needs=devices)

    def _is_ours(self, pod: Object) -> bool:
        metadata = pod["metadata"]
        is_managed = (metadata.get("labels") or {}).get(MANAGED_BY_LABEL) == MANAGED_BY
        return is_managed and self._namespace in {"", metadata.get("namespace", "")}
