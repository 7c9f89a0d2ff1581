"""A job as the queue sees it: how much it needs, where that may be, and what it holds. Pure."""

from dataclasses import dataclass, field

from oarlock_operator.queueing.placement import Placement

Needs = tuple[tuple[str, float], ...]
"""What one pod asks for of each resource that is counted; cores and bytes where it is not a count."""


@dataclass(frozen=True, kw_only=True, slots=True)
class QueuedJob:
    """A job that waits, or that holds what it was admitted with."""

    uid: str
    namespace: str
    name: str
    priority: int = 0
    created: float
    since: float
    """Since when it waits."""
    pods: int
    least: int = 0
    """With how many pods it would begin where there is no room for all; 0: with none fewer."""
    settled: int = 0
    """How many pods its attempt has: the others only look for more room."""
    wanted: int = 0
    """How many pods an elastic job should have; 0: it has them all."""
    needs: Needs
    """What each of its pods needs."""
    placement: Placement = field(default_factory=Placement)
    """Which nodes its pods may use."""
    is_admitted: bool = False
    may_be_preempted: bool = True
    """Whether its place is ours to take: not where another queue has given it."""
    bound: tuple[str, ...] = ()
    """Nodes of its pods, of any attempt: one item a pod."""
    planned: tuple[str, ...] = ()
    """Nodes that were found for its pods when it was admitted: one item a pod."""
    ends: float | None = None
    """When it is expected to end; None: unknown."""

    @property
    def fewest(self) -> int:
        """With how many pods it begins if need be."""
        return self.least or self.pods

    @property
    def title(self) -> str:
        return f"{self.namespace}/{self.name}"
