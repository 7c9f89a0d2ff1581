"""What pods of others take of the nodes' devices: read now and then while jobs of ours wait, since no watch shows them."""

from collections.abc import Iterable, Iterator

from oarlock_operator import observing
from oarlock_operator.clock import Clock
from oarlock_operator.cluster.port import Cluster
from oarlock_operator.names import MANAGED_BY, MANAGED_BY_LABEL
from oarlock_operator.observing import Object
from oarlock_operator.queueing.capacity import Occupied

_AGE_SECONDS = 30.0
_COST = 20.0
"""Reading takes at most one part in so many of the time: it is a list of all pods of the cluster, page by page."""
_ENDED = frozenset({"Succeeded", "Failed"})


class ForeignPods:
    """Pods of the whole cluster that take devices and are not ours."""

    def __init__(self, cluster: Cluster, clock: Clock) -> None:
        self._cluster, self._clock = cluster, clock
        self._expires = 0.0
        self._pods: tuple[Occupied, ...] = ()

    async def list(self) -> tuple[Occupied, ...]:
        """Return what they take, as of half a minute ago at most, or longer where the cluster is large.

        Raises:
            ClusterError.
        """
        began = self._clock.now()
        if began >= self._expires:
            self._pods = tuple(_find_occupied(await self._cluster.list("Pod")))
            self._expires = began + max(_AGE_SECONDS, _COST * (self._clock.now() - began))
        return self._pods


def _find_occupied(pods: Iterable[Object]) -> Iterator[Occupied]:
    for pod in pods:
        spec, labels = pod.get("spec") or {}, pod["metadata"].get("labels") or {}
        is_ended = (pod.get("status") or {}).get("phase") in _ENDED
        devices = observing.observe_devices(spec)
        if devices and spec.get("nodeName") and not is_ended and labels.get(MANAGED_BY_LABEL) != MANAGED_BY:
            yield Occupied(node=spec["nodeName"], needs=devices)
