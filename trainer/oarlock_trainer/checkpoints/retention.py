"""Which checkpoints to delete. Pure: no I/O, no clock; what it decides about has been verified before.

The latest `keep` finite checkpoints and the best one stay. The only good checkpoint is never deleted, whatever else is there.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from oarlock_api.metrics import is_as_good


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredCheckpoint:
    """A complete checkpoint, as far as retention needs to know it."""

    step: int
    finite: bool = True
    metric: float | None = None
    """Value of the metric by which the best is kept; None if validation did not run at this step."""
    corrupt: bool = False
    """Found not to be what was written, or unreadable."""

    @property
    def is_good(self) -> bool:
        return self.finite and not self.corrupt


def find_latest(checkpoints: Iterable[StoredCheckpoint]) -> StoredCheckpoint | None:
    """Return the newest one from which a run can go on."""
    return max((c for c in checkpoints if c.is_good), key=lambda c: c.step, default=None)


def find_best(checkpoints: Iterable[StoredCheckpoint], *, metric_name: str) -> StoredCheckpoint | None:
    """Return the best one by the metric, the latest of equals, or None if none was validated."""
    return next(iter(rank(checkpoints, metric_name=metric_name)), None)


def rank(checkpoints: Iterable[StoredCheckpoint], *, metric_name: str) -> list[StoredCheckpoint]:
    """Return those that were validated, the best by the metric first, the latest of equals before the others."""
    ranked: list[StoredCheckpoint] = []
    for candidate in sorted(checkpoints, key=lambda c: c.step):
        if not candidate.is_good or candidate.metric is None or not math.isfinite(candidate.metric):
            continue
        worse = (
            place
            for place, other in enumerate(ranked)
            if other.metric is not None and is_as_good(metric_name, candidate.metric, other.metric)
        )
        ranked.insert(next(worse, len(ranked)), candidate)
    return ranked


def decide_deletions(checkpoints: Iterable[StoredCheckpoint], *, keep: int, metric_name: str) -> list[int]:
    """Return the steps of the checkpoints to delete, oldest first.

    Corrupt and non-finite ones go as soon as there is a newer good one, and stay for inspection until then.
    """
    found = sorted(checkpoints, key=lambda c: c.step)
    good = [c.step for c in found if c.is_good]
    if not good:
        return []
    best = find_best(found, metric_name=metric_name)
    kept = {*good[-max(keep, 1) :], *([best.step] if best else [])}
    return [c.step for c in found if (c.step not in kept if c.is_good else c.step < good[-1])]
