"""What planning returns: references to confirm, objects to create and delete, a status, events, and when to look again."""

from dataclasses import dataclass, field
from typing import Any

from oarlock_api.wire import OpenModel


@dataclass(frozen=True, kw_only=True, slots=True)
class Reference:
    """Names one object."""

    kind: str
    namespace: str
    name: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Deletion:
    """One object to delete, if it still is the one that was observed."""

    reference: Reference
    uid: str
    grace_seconds: int | None = None
    """Seconds between SIGTERM and SIGKILL for a pod; None: as the pod says."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EventNote:
    """What people shall read in `kubectl describe`: changes of the life cycle only."""

    reason: str
    message: str
    warning: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What is to be done for one object.

    The order of application is part of the meaning: `confirm` alone, if there is any, after which planning starts anew with
    what was confirmed; else the status, and only after its acknowledgement finalizers, deletions and creations.
    """

    confirm: tuple[Reference, ...] = ()
    """Objects to read past the caches, before a destructive step."""
    status: OpenModel | None = None
    """The whole new status; None: it stays as it is."""
    urgent: bool = True
    """False: the status differs in progress only, and may wait for its turn."""
    finalizers: tuple[str, ...] | None = None
    """The whole new list of finalizers; None: it stays as it is."""
    delete: tuple[Deletion, ...] = ()
    create: tuple[dict[str, Any], ...] = ()
    """Manifests, in order."""
    events: tuple[EventNote, ...] = ()
    wake_at: float | None = None
    """Seconds since 1970 at which to plan again, even if nothing is observed."""
    others: tuple[Reference, ...] = field(default=())
    """Other objects to plan again: the jobs that wait for a Dataset, the Dataset that a job holds."""
