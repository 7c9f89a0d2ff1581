"""When torchrun is started again in the same pod. Pure.

Only for one-node jobs, only for faults of the machine, and only while checkpoints advance: an exception would come again, and
several nodes must start anew together, which is the operator's to decide.
"""

from dataclasses import dataclass

from oarlock_api.contract import RETRIED_IN_PLACE, Outcome
from oarlock_trainer.agent.evidence import Verdict

MAX_RETRIES_WITHOUT_PROGRESS = 3
_DELAYS_SECONDS = (0.0, 1.0, 2.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class RetryBudget:
    """What is left of the retries in place."""

    nodes: int
    retries: int = 0
    """Retries so far."""
    since_progress: int = 0
    """Retries since a checkpoint was last seen to advance."""
    progress: int = -1
    """Step of the latest checkpoint seen, or samples imported."""

    def observe(self, progress: int) -> "RetryBudget":
        """Take in how far the run is safe: an advance refills the budget."""
        if progress <= self.progress:
            return self
        return RetryBudget(nodes=self.nodes, retries=self.retries, progress=progress)

    def allows(self, verdict: Verdict) -> bool:
        return (
            self.nodes == 1
            and verdict.outcome is Outcome.FAILED
            and verdict.failure is not None
            and verdict.failure.cause in RETRIED_IN_PLACE
            and self.since_progress < MAX_RETRIES_WITHOUT_PROGRESS
        )

    @property
    def delay(self) -> float:
        """Seconds to wait before the next retry: none at first, since most faults are single."""
        return _DELAYS_SECONDS[min(self.since_progress, len(_DELAYS_SECONDS) - 1)]

    def spend(self) -> "RetryBudget":
        return RetryBudget(
            nodes=self.nodes, retries=self.retries + 1, since_progress=self.since_progress + 1, progress=self.progress
        )
