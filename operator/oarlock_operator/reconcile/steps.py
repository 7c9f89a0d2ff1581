"""The step that planning settles on, before it becomes a status and a plan. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Generic, TypeVar

from oarlock_api.findings import Finding
from oarlock_api.v1alpha1.status import DatasetPhase, JobPhase
from oarlock_operator.manifests.metadata import Manifest
from oarlock_operator.reconcile.observed import ObservedPod
from oarlock_operator.reconcile.plans import Reference

P = TypeVar("P", bound=StrEnum)


@dataclass(frozen=True, kw_only=True, slots=True)
class Step(Generic[P]):
    """What a job or an import does now, and what that takes."""

    phase: P
    reason: str
    message: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    """Further fields of the status: counters, failures, times."""
    findings: tuple[Finding, ...] = ()
    """What is wrong with the object, besides its spec alone."""
    delete: tuple[ObservedPod, ...] = ()
    create: tuple[Manifest, ...] = ()
    confirm: bool = False
    """Whether it must not be taken on the word of a cache."""
    witnesses: tuple[Reference, ...] = ()
    """Other objects that the step rests on, to be read past the caches as well before it is taken."""
    wake_at: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class JobStep(Step[JobPhase]):
    """The step of a TrainingJob."""

    delete_job: bool = False
    """Whether the job itself is deleted: its time after the end is over."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ImportStep(Step[DatasetPhase]):
    """The step of a Dataset."""
