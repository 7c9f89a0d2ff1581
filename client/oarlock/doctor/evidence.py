"""Everything that a verdict on one job rests on, as it is on the API server or in a runs folder. Pure values."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

Object = dict[str, Any]


class NoSuchJobError(Exception):
    """There is no job of that name."""

    def __init__(self, name: str, where: str, known: Iterable[str]) -> None:
        there = ", ".join(sorted(known)[:10]) or "no job at all"
        super().__init__(f"there is no TrainingJob {name} in {where}; there is {there}")


class UnreadableError(Exception):
    """The cluster or the folder cannot be read: the message says why, and what to do."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """What is there."""

    where: str
    """The namespace, or the runs folder."""
    job: Object
    now: float
    """Seconds since 1970."""
    dataset: Object | None = None
    pods: tuple[Object, ...] = ()
    """The pods of the job, of all attempts."""
    claims: tuple[Object, ...] = ()
    """The claims that the job uses."""
    events: tuple[Object, ...] = ()
    """What was said of the job, its pods and claims, the oldest first."""
    nodes: tuple[Object, ...] | None = None
    """All nodes; None: they may not be read."""
    others: tuple[Object, ...] | None = None
    """All pods of the cluster; None: they may not be read."""
    unread: tuple[str, ...] = ()
    """What may not be read, with the reason."""
    is_local: bool = False
    has_worker: bool = True
    """Whether anybody works on it: on this machine a process, in a cluster the operator as far as known."""

    folder: str = ""
    """The runs folder, of a job on this machine."""

    @property
    def is_deserted(self) -> bool:
        """Whether a job of this machine is unfinished, and nobody works on it."""
        has_pods = self.status.get("phase") not in (None, "Suspended", "Queued", "Invalid")
        return self.is_local and not self.has_worker and has_pods and self.status.get("completionTime") is None

    @property
    def status(self) -> Mapping[str, Any]:
        status: Mapping[str, Any] = self.job.get("status") or {}
        return status

    @property
    def name(self) -> str:
        return str(self.job["metadata"]["name"])


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What is wrong, in one line."""

    is_healthy: bool
    headline: str
    """State, culprit and remedy."""
    seen_now: str = ""
    """What the pods say at this moment, where the status does not say so yet."""
    hazards: tuple[str, ...] = field(default_factory=tuple)
    """What is wrong beside that."""
