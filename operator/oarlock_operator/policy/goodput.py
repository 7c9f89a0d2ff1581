"""Goodput: where the time of a job went, and its GPUs' hours, as sums in the status that only grow. Pure.

Each write of the status counts what passed since the write before, by the phase and cause which that one showed: an operator that
dies loses nothing, since the next one counts from the same moment. Training becomes safe by the time of the checkpoint that holds
it; what no checkpoint holds when training begins anew was lost.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from oarlock_api.contract import PodPhase
from oarlock_api.v1alpha1.status import MAX_LOSSES, Goodput, GoodputLoss, GpuHours, JobPhase, TrainingJobStatus
from oarlock_operator.policy.phases import PREPARING
from oarlock_operator.policy.times import format_time, parse_time
from oarlock_operator.reconcile.observed import ObservedPod

TRAINING = JobPhase.TRAINING.value
LOST_STEPS = "LostSteps"
"""Phase of training that was lost, and had to be done again."""
OTHER = "Other"
"""Phase of all losses for which the list has no room: the sums stay right."""
RETRIED = "RetriedInPod"
"""Cause of what an agent's own new start of its processes takes."""

_UNCOUNTED = frozenset({None, JobPhase.INVALID, JobPhase.SUCCEEDED, JobPhase.FAILED})
_HOUR = 3600.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Amount:
    """Some time, and the GPUs that were held for it."""

    seconds: float = 0.0
    gpu_hours: float = 0.0

    def __add__(self, other: "Amount") -> "Amount":
        return Amount(
            seconds=round(self.seconds + other.seconds, 3), gpu_hours=round(self.gpu_hours + other.gpu_hours, 6)
        )

    def split(self, fraction: float) -> tuple["Amount", "Amount"]:
        """Return a part, and the rest."""
        part = Amount(seconds=round(self.seconds * fraction, 3), gpu_hours=round(self.gpu_hours * fraction, 6))
        return part, Amount(
            seconds=round(self.seconds - part.seconds, 3), gpu_hours=round(self.gpu_hours - part.gpu_hours, 6)
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Ledger:
    """The sums of a `Goodput`."""

    training: Amount
    unsaved: Amount
    unsaved_since: float | None
    losses: dict[tuple[str, str], Amount]
    cause: str

    def lose(self, phase: str, amount: Amount) -> "Ledger":
        """Count time that was lost, for the cause of the attempt."""
        if not (amount.seconds or amount.gpu_hours):
            return self
        key = (phase, self.cause)
        key = key if key in self.losses or len(self.losses) < MAX_LOSSES - 1 else (OTHER, "")
        return replace(self, losses={**self.losses, key: self.losses.get(key, Amount()) + amount})

    def train(self, amount: Amount, *, since: float) -> "Ledger":
        """Count training that no checkpoint holds yet."""
        began = since if self.unsaved_since is None else self.unsaved_since
        return replace(self, unsaved=self.unsaved + amount, unsaved_since=began)

    def save(self, moment: float | None) -> "Ledger":
        """Count as safe what was trained before the moment of a checkpoint."""
        if moment is None or self.unsaved_since is None or moment <= self.unsaved_since:
            return self
        if moment >= self.unsaved_since + self.unsaved.seconds:
            return replace(self, training=self.training + self.unsaved, unsaved=Amount(), unsaved_since=None)
        safe, rest = self.unsaved.split((moment - self.unsaved_since) / self.unsaved.seconds)
        return replace(self, training=self.training + safe, unsaved=rest, unsaved_since=moment)

    def give_up(self) -> "Ledger":
        """Count as lost what no checkpoint holds."""
        return replace(self.lose(LOST_STEPS, self.unsaved), unsaved=Amount(), unsaved_since=None)


def count_goodput(
    before: TrainingJobStatus,
    after: TrainingJobStatus,
    *,
    pods: Sequence[ObservedPod],
    gpus_per_node: int,
    created: float,
    now: float,
) -> Goodput | None:
    """Return the sums up to now; None before there is anything to count.

    Args:
        before: the status that was written last.
        after: the status that is to be written, but for this.
        pods: the job's pods, of all attempts.
        gpus_per_node: GPUs that each of them holds.
        created: when the job was created, in seconds since 1970.
        now: seconds since 1970.
    """
    known = before.goodput or Goodput()
    held = count_held(pods, at=now) * gpus_per_node if find_activity(after) else 0
    if find_activity(before) is None and find_activity(after) is None:
        return before.goodput
    since = parse_time(known.counted_until)
    since = min(now, created if since is None else since)
    hours = _count_gpu_seconds(pods, gpus_per_node, known.gpus, since=since, until=now) / _HOUR
    amount = Amount(seconds=round(now - since, 3), gpu_hours=round(hours, 6))
    ledger = _settle(_book(_read(known), before, after, amount, since=since), before, after)
    return _write(ledger, gpus=held, now=now)


def find_activity(status: TrainingJobStatus) -> str | None:
    """Return what the time of a job in this state counts as; None: it is not counted."""
    if status.phase in _UNCOUNTED or status.phase is None:
        return None
    prepares = status.phase is JobPhase.TRAINING and status.reason in PREPARING | {PodPhase.RETRYING}
    return status.reason if prepares else status.phase.value


def count_held(pods: Iterable[ObservedPod], *, at: float) -> int:
    """Return how many pods hold their resources at a moment, as far as known: from their node until their end."""
    return sum(1 for pod in pods if _holds(pod, at))


def _book(
    ledger: Ledger, before: TrainingJobStatus, after: TrainingJobStatus, amount: Amount, *, since: float
) -> Ledger:
    """Count the time that passed, and what checkpoints have made safe."""
    activity = find_activity(before) or find_activity(after)
    ledger = ledger.train(amount, since=since) if activity == TRAINING else ledger.lose(activity or OTHER, amount)
    latest = after.checkpoint.latest if after.checkpoint else None
    return ledger.save(parse_time(latest.time) if latest else None)


def _settle(ledger: Ledger, before: TrainingJobStatus, after: TrainingJobStatus) -> Ledger:
    """Decide on training that no checkpoint holds, where it is known; say for what the time counts from now on."""
    ledger = replace(ledger, cause=_find_cause(ledger, before, after))
    if after.phase is JobPhase.SUCCEEDED:
        return replace(ledger, training=ledger.training + ledger.unsaved, unsaved=Amount(), unsaved_since=None)
    begins = find_activity(after) == TRAINING != find_activity(before)
    is_over = begins or after.phase is JobPhase.FAILED or _has_fallen_back(before, after)
    return ledger.give_up() if is_over else ledger


def _find_cause(ledger: Ledger, before: TrainingJobStatus, after: TrainingJobStatus) -> str:
    if after.failures and after.failures != before.failures:
        return after.failures[-1].cause
    if after.attempt != before.attempt:
        return after.phase.value if after.phase is JobPhase.SUSPENDED else after.reason
    is_retry = find_activity(before) == TRAINING != find_activity(after) and after.phase is JobPhase.TRAINING
    return RETRIED if is_retry or _has_fallen_back(before, after) else ledger.cause


def _has_fallen_back(before: TrainingJobStatus, after: TrainingJobStatus) -> bool:
    """Say whether an attempt trains steps again: its agent may have started it anew faster than anybody asks."""
    if before.attempt != after.attempt or not before.progress or not after.progress:
        return False
    return find_activity(before) == find_activity(after) == TRAINING and after.progress.step < before.progress.step


def _count_gpu_seconds(
    pods: Sequence[ObservedPod], gpus_per_node: int, held_before: int, *, since: float, until: float
) -> float:
    """Return GPUs times seconds: of pods that are there by their own times, of those that went by what was held before."""
    there = gpus_per_node * sum(_held_seconds(pod, since=since, until=until) for pod in pods)
    gone = max(0, held_before - gpus_per_node * count_held(pods, at=since))
    return there + gone * (until - since)


def _holds(pod: ObservedPod, moment: float) -> bool:
    began, ended = _tenure(pod)
    return began <= moment < ended


def _held_seconds(pod: ObservedPod, *, since: float, until: float) -> float:
    began, ended = _tenure(pod)
    return max(0.0, min(ended, until) - max(began, since))


def _tenure(pod: ObservedPod) -> tuple[float, float]:
    """Return from when to when a pod holds its node; a pod that ended and says not when holds nothing that is known."""
    began = (pod.scheduled_at or pod.created) if pod.scheduled else math.inf
    if pod.finished is not None:
        return began, pod.finished
    return began, -math.inf if pod.phase in ("Succeeded", "Failed") else math.inf


def _read(known: Goodput) -> Ledger:
    return Ledger(
        training=Amount(seconds=known.training_seconds, gpu_hours=known.gpu_hours.training),
        unsaved=Amount(seconds=known.unsaved_seconds, gpu_hours=known.gpu_hours.unsaved),
        unsaved_since=parse_time(known.unsaved_since),
        losses={
            (loss.phase, loss.cause): Amount(seconds=loss.seconds, gpu_hours=loss.gpu_hours) for loss in known.losses
        },
        cause=known.cause,
    )


def _write(ledger: Ledger, *, gpus: int, now: float) -> Goodput:
    training, unsaved = ledger.training, ledger.unsaved
    lost = sum(ledger.losses.values(), Amount())
    suspended = sum(amount.seconds for (phase, _), amount in ledger.losses.items() if phase == JobPhase.SUSPENDED.value)
    trained = training.seconds + unsaved.seconds
    wanted = trained + lost.seconds - suspended
    return Goodput(
        percent=min(100, int(100 * trained / wanted)) if wanted > 0 else 0,
        training_seconds=training.seconds,
        unsaved_seconds=unsaved.seconds,
        lost_seconds=lost.seconds,
        gpu_hours=GpuHours(
            total=round(training.gpu_hours + unsaved.gpu_hours + lost.gpu_hours, 6),
            training=training.gpu_hours,
            unsaved=unsaved.gpu_hours,
            lost=lost.gpu_hours,
        ),
        losses=[
            GoodputLoss(phase=phase, cause=cause, seconds=amount.seconds, gpu_hours=amount.gpu_hours)
            for (phase, cause), amount in ledger.losses.items()
        ],
        cause=ledger.cause,
        gpus=gpus,
        unsaved_since=format_time(ledger.unsaved_since) if ledger.unsaved_since is not None else None,
        counted_until=format_time(now),
    )
