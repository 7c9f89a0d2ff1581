"""What the queue decides of one job. Pure."""

from dataclasses import dataclass
from enum import StrEnum

QUEUE_OFF = "QueueOff"
"""Reason of verdicts while there is no queue: everybody may have pods."""


class Stand(StrEnum):
    """Where a job stands."""

    ADMITTED = "Admitted"
    """It may have pods."""
    WAITING = "Waiting"
    """It may have none yet."""
    PREEMPTED = "Preempted"
    """It was admitted, and gives its place to another job."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """The queue's word on a job."""

    stand: Stand
    reason: str
    """One word, for programs."""
    message: str = ""
    """What a person wants to know, with figures."""
    position: int | None = None
    """Place among those that wait for the same resource, counted from 1."""
    expected_start: float | None = None
    """About when it starts, by the ETAs of the jobs that run; None: nobody knows."""
    nodes: tuple[str, ...] = ()
    """Nodes on which there is room for an admitted job: one item a pod."""
    most: int | None = None
    """How many pods an elastic job may have in all where a budget says that; None: the nodes do."""
    preempted_by: str = ""
    """UID of the job that gets the place."""
    winner: str = ""
    """The same job as NAMESPACE/NAME."""
    avoids_too_much: bool = False
    """Whether it fits nowhere only because of the nodes that it avoids."""

    @property
    def essence(self) -> tuple[object, ...]:
        """What a person should learn at once; figures change with every job that comes or goes."""
        return (self.stand, self.reason, self.preempted_by, self.avoids_too_much, self.most)
