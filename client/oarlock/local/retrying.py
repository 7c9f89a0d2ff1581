"""Statuses that the client writes itself, to take up what the operator has given up or to put off what it would begin. Pure.

Kubernetes has no such thing: there a job that has failed stays failed, and another one is applied in its place. On one machine the
person who removes the cause of a failure is the one who runs the command again, and means to go on from the last checkpoint.
Counters of the past stay; only what decides about a new attempt is reset.
"""

from collections.abc import Mapping
from typing import Any

from oarlock.local.pod_status import format_time
from oarlock_operator.policy.backoff import MAX_DELAY_SECONDS

Status = dict[str, Any]

_VERDICT = frozenset({"phase", "phaseSince", "reason", "message", "completionTime", "retryAfter", "resumeFloor"})
_LAST_CONDITIONS = frozenset({"Complete", "Failed"})


def reopen_job(status: Mapping[str, Any]) -> Status:
    """Return the status of a failed job that shall be tried again: what it was accepted as, with an attempt that is new."""
    kept = {name: value for name, value in status.items() if name not in _VERDICT}
    conditions = [each for each in status.get("conditions", ()) if each["type"] not in _LAST_CONDITIONS]
    # Pods of a new attempt have never run: none of them can have been taken away.
    return {**kept, "conditions": conditions, "attempt": status.get("attempt", 0) + 1, "nodes": 0, "countedRestarts": 0}


def put_off_import(status: Mapping[str, Any], *, now: float) -> Status:
    """Return the status of an import that shall stop: its pod becomes one of an earlier attempt, and the next one waits."""
    return {
        **status,
        "phase": "Pending",
        "reason": "Stopped",
        "message": "the import was stopped; it goes on when it is run again",
        "attempt": status.get("attempt", 0) + 1,
        # As long as an attempt can be put off; until then nobody plans any more, and the next run takes it up at once.
        "retryAfter": format_time(now + MAX_DELAY_SECONDS),
    }


def take_up_import(status: Mapping[str, Any]) -> Status:
    """Return the status of an unfinished import without anything that its next attempt waits for: somebody wants it now."""
    return {name: value for name, value in status.items() if name != "retryAfter"}
