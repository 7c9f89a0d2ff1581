"""Phases of a job: which one the trainer's own phase means, and how many seconds each has taken. Pure."""

from collections.abc import Mapping

from oarlock_api.contract import PodPhase
from oarlock_api.v1alpha1.status import JobPhase
from oarlock_operator.policy.times import parse_time

JOINING: frozenset[str] = frozenset({PodPhase.STARTING, PodPhase.RENDEZVOUS})
PREPARING: frozenset[str] = JOINING | {PodPhase.LOADING, PodPhase.COMPILING, PodPhase.TUNING}
"""Phases of a pod before its first step."""
ACTIVE: frozenset[JobPhase] = frozenset(
    {JobPhase.STARTING, JobPhase.RENDEZVOUS, JobPhase.TRAINING, JobPhase.RESTARTING}
)
"""Phases of a job that count against its active deadline."""


def add_phase_seconds(
    phases: Mapping[str, float], *, phase: JobPhase | None, since: str | None, now: float
) -> dict[str, float]:
    """Return the seconds spent in each phase, with those of the phase that ends now."""
    began = parse_time(since)
    if phase is None or began is None:
        return dict(phases)
    return {**phases, phase.value: round(phases.get(phase.value, 0.0) + max(0.0, now - began), 3)}


def count_active_seconds(
    phases: Mapping[str, float], *, phase: JobPhase | None, since: str | None, now: float
) -> float:
    """Return the seconds for which the job has had, or wanted, pods: neither waiting for data nor suspended."""
    so_far = sum(seconds for name, seconds in phases.items() if name in ACTIVE)
    began = parse_time(since)
    return so_far + (max(0.0, now - began) if phase in ACTIVE and began is not None else 0.0)
