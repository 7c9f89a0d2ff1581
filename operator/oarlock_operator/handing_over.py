"""Jobs of which somebody else decides when they start: Kueue by the queue that they name, a scheduler of gangs by a setting.

Either may be installed later, and removed again, so that what is known of that is looked at anew.
"""

import logging

from oarlock_operator.clock import Clock
from oarlock_operator.cluster.port import Cluster
from oarlock_operator.manifests.pod_groups import find_group_scheduler
from oarlock_operator.names import KUEUE_GROUP
from oarlock_operator.queueing.verdicts import Stand, Verdict
from oarlock_operator.settings import Settings

_log = logging.getLogger(__name__)

_KUEUE_SECONDS = 60.0


class HandingOver:
    """Verdicts on jobs that are handed over."""

    def __init__(self, cluster: Cluster, clock: Clock, settings: Settings) -> None:
        """Find out to whom.

        Raises:
            ValueError: a setting makes no sense.
        """
        self._cluster, self._clock = cluster, clock
        self.scheduler = find_group_scheduler(settings)
        if self.scheduler and (settings.queueing == "on" or settings.queue_budget):
            raise ValueError(
                f"OARLOCK_OPERATOR_POD_GROUPS={settings.pod_groups} hands all jobs over, so that Oarlock's own queue has none:"
                " leave OARLOCK_OPERATOR_QUEUEING=on and OARLOCK_OPERATOR_QUEUE_BUDGET out"
            )
        self._are_groups_served: bool | None = None
        self._kueue: bool | None = None
        self._kueue_expires = 0.0

    def note_pod_groups(self, *, are_served: bool) -> bool:
        """Note whether the cluster knows the scheduler's PodGroup; return whether that is news."""
        if self.scheduler is None or are_served is self._are_groups_served:
            return False
        self._are_groups_served = are_served
        if not are_served:
            _log.warning("jobs cannot start: %s", self._describe_missing())
        return True

    def takes(self, queue: str | None) -> bool:
        """Say whether a job that names this queue, or none, is handed over."""
        return bool(queue) or self.scheduler is not None

    async def find_verdict(self, queue: str | None) -> Verdict | None:
        """Return what is decided of a job that is handed over; None: nothing yet.

        Raises:
            ClusterError: it cannot be found out who decides.
        """
        by_kueue = None
        if queue and not (self.scheduler and self.scheduler.has_queues):
            by_kueue = await self._ask_kueue(queue)
        if self.scheduler is None or (by_kueue and by_kueue.stand is Stand.WAITING):
            return by_kueue
        if self._are_groups_served is None:
            return None
        if not self._are_groups_served:
            return Verdict(stand=Stand.WAITING, reason="PodGroupsMissing", message=self._describe_missing())
        return by_kueue or Verdict(
            stand=Stand.ADMITTED,
            reason=self.scheduler.reason,
            message=f"{self.scheduler.title} decides, by the PodGroup of each attempt",
        )

    def _describe_missing(self) -> str:
        if self.scheduler is None:
            return ""
        return (
            f"gangs are handed over to {self.scheduler.title}, and the CustomResourceDefinition {self.scheduler.definition} is not"
            f" installed, with version {self.scheduler.version}. Install {self.scheduler.title}, or have the administrator empty"
            " queue.podGroups of the chart"
        )

    async def _ask_kueue(self, queue: str) -> Verdict:
        if self._clock.now() >= self._kueue_expires or self._kueue is None:
            self._kueue = await self._cluster.serves(KUEUE_GROUP)
            self._kueue_expires = self._clock.now() + _KUEUE_SECONDS
        if self._kueue:
            return Verdict(stand=Stand.ADMITTED, reason="QueuedByKueue", message=f"Kueue decides, by its queue {queue}")
        return Verdict(
            stand=Stand.WAITING,
            reason="KueueMissing",
            message=f"runPolicy.queue names {queue}, a queue of Kueue, and Kueue is not installed here: the API group"
            f" {KUEUE_GROUP} is not served. Install it, or leave runPolicy.queue out to wait in Oarlock's own queue",
        )
