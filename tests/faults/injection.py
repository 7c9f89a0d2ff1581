"""What a fault of the cluster's side is brought about with: a job, and what is done to it."""

from collections.abc import Callable
from dataclasses import dataclass, field

from faults.stage import Inject, Object, Stage


@dataclass(frozen=True, kw_only=True, slots=True)
class Injection:
    """One fault."""

    job: Object = field(default_factory=dict)
    """What the job's spec says besides the usual."""
    act: Inject | None = None
    """What is done once all pods of the job have a node; None: the job itself, or what was prepared, is the fault."""
    before: Callable[[Stage, str], None] | None = None
    """What is done at the very moment of the fault, before the job has pods; given the job's name."""
