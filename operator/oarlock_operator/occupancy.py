"""What is free on the nodes, while a pod finds none: read rarely, since it takes a list of every pod of the cluster.

In an installation without rights on all namespaces nothing is free that could be told, and the scheduler's words must do.
"""

import logging
from collections.abc import Iterable

from oarlock_operator.clock import Clock
from oarlock_operator.cluster.port import Cluster, ClusterError, RefusedError
from oarlock_operator.policy.rooms import Use, count_use, measure_rooms
from oarlock_operator.reconcile.observed import ObservedNode, Room

_log = logging.getLogger(__name__)

_AGE_SECONDS = 20.0
_REFUSED_AGE_SECONDS = 600.0
"""Servers that start refuse for a moment what they allow, so that a refusal is not believed for ever."""


class Occupancy:
    """What all pods of the cluster ask for, by node."""

    def __init__(self, cluster: Cluster, clock: Clock) -> None:
        self._cluster, self._clock = cluster, clock
        self._use: Use | None = None
        self._expires = 0.0

    async def measure(self, nodes: Iterable[ObservedNode]) -> tuple[Room, ...]:
        """Return the nodes with what is free on them, as far as it may be known."""
        if self._clock.now() >= self._expires:
            self._expires = self._clock.now() + _AGE_SECONDS
            self._use = await self._read()
        return measure_rooms(nodes, self._use)

    async def _read(self) -> Use | None:
        try:
            pods = await self._cluster.list("Pod")
        except RefusedError as error:
            self._expires = self._clock.now() + _REFUSED_AGE_SECONDS
            _log.info("what is free on the nodes is not told: %s", error)
            return None
        except ClusterError:
            return None  # it is a courtesy: planning goes on without
        return count_use(pods)
