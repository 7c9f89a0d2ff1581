"""Whether a failure is answered by a new attempt, and what that costs. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from oarlock_api.contract import Cause
from oarlock_api.v1alpha1.status import FailureRecord
from oarlock_operator.policy.causes import OperatorCause
from oarlock_operator.policy.times import parse_time

WINDOW_SECONDS = 3600.0
FAULTS_IN_WINDOW = 2
"""Infrastructure faults in one window that cost nothing, as long as training advances between them."""


class Budget(StrEnum):
    """What a new attempt costs."""

    FREE = "Free"
    """Nothing: the cluster took the pod away."""
    WINDOWED = "Windowed"
    """Nothing, unless such faults are frequent or training does not advance between them."""
    COUNTED = "Counted"
    """One of `backoffLimit`."""
    NEVER = "Never"
    """There is none: it would fail in the same way."""


BUDGETS: dict[str, Budget] = {
    OperatorCause.EVICTED: Budget.FREE,
    OperatorCause.PREEMPTED: Budget.FREE,
    OperatorCause.NODE_LOST: Budget.FREE,
    OperatorCause.NODE_REFUSED: Budget.FREE,
    OperatorCause.POD_DELETED: Budget.FREE,
    OperatorCause.INTERRUPTED: Budget.FREE,
    OperatorCause.UNSCHEDULABLE: Budget.FREE,
    OperatorCause.RESIZED: Budget.FREE,
    OperatorCause.EXCLUSION_LIFTED: Budget.FREE,
    Cause.SUPERSEDED: Budget.FREE,
    Cause.RENDEZVOUS_FAILED: Budget.WINDOWED,
    Cause.COLLECTIVE_FAILED: Budget.WINDOWED,
    Cause.PROCESS_KILLED: Budget.WINDOWED,
    Cause.HUNG: Budget.WINDOWED,
    Cause.DEVICE_FAILED: Budget.WINDOWED,
    Cause.STORAGE_FAILED: Budget.WINDOWED,
    OperatorCause.STARTUP_DEADLINE_EXCEEDED: Budget.WINDOWED,
    OperatorCause.INIT_CONTAINER_FAILED: Budget.WINDOWED,
    Cause.USER_ERROR: Budget.COUNTED,
    Cause.OUT_OF_MEMORY: Budget.COUNTED,
    Cause.NON_FINITE: Budget.COUNTED,
    Cause.STORAGE_FULL: Budget.COUNTED,
    Cause.UNKNOWN: Budget.COUNTED,
    Cause.CONFIG_INVALID: Budget.NEVER,
    Cause.DATA_MISSING: Budget.NEVER,
    Cause.DATA_CORRUPT: Budget.NEVER,
    Cause.CHECKPOINT_MISMATCH: Budget.NEVER,
    OperatorCause.IMAGE_UNAVAILABLE: Budget.NEVER,
    OperatorCause.CONTAINER_REFUSED: Budget.NEVER,
    OperatorCause.CREATION_REFUSED: Budget.NEVER,
    OperatorCause.ACTIVE_DEADLINE_EXCEEDED: Budget.NEVER,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What follows from a failure."""

    restart: bool
    counts: bool = False
    """Whether the new attempt costs one of `backoffLimit`."""
    why: str = ""
    """Why there is no new attempt, for people."""


def budget_of(cause: str) -> Budget:
    """Return what a new attempt after `cause` costs; a cause that a newer pod reports counts."""
    return BUDGETS.get(cause, Budget.COUNTED)


def decide_restart(
    cause: str,
    *,
    progressed: bool,
    counted_restarts: int,
    backoff_limit: int,
    earlier: Sequence[FailureRecord],
    now: float,
) -> Verdict:
    """Decide whether a new attempt starts.

    Args:
        cause: why the attempt ended.
        progressed: whether a checkpoint was completed since the last restart that was not free.
        counted_restarts: restarts that have cost one of `backoff_limit` so far.
        backoff_limit: restarts that the user allows.
        earlier: the latest failures before this one.
        now: seconds since 1970.
    """
    budget = budget_of(cause)
    if budget is Budget.FREE:
        return Verdict(restart=True)
    if budget is Budget.NEVER:
        return Verdict(restart=False, why=f"{cause} does not go away by trying again")
    if budget is Budget.COUNTED and not progressed:
        return Verdict(restart=False, why="the last restart brought no new checkpoint, so another one would not either")
    counts = budget is Budget.COUNTED or not progressed or _count_faults(earlier, now) >= FAULTS_IN_WINDOW
    if counts and counted_restarts >= backoff_limit:
        return Verdict(restart=False, why=f"backoffLimit is {backoff_limit}, and {counted_restarts} restarts counted")
    return Verdict(restart=True, counts=counts)


def _count_faults(earlier: Sequence[FailureRecord], now: float) -> int:
    """Count infrastructure faults of the last hour, among the few failures that the status keeps."""
    since = now - WINDOW_SECONDS
    return sum(
        1
        for failure in earlier
        if budget_of(failure.cause) is Budget.WINDOWED and (parse_time(failure.time) or 0) > since
    )
