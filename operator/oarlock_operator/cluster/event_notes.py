"""What people read in `kubectl describe`: Events, one for each thing said about an object, counted when it is said again."""

import hashlib
from collections import OrderedDict
from datetime import UTC, datetime
from typing import Any

from oarlock_api.v1alpha1 import API_VERSION
from oarlock_operator.reconcile.plans import EventNote, Reference

_LONGEST_MESSAGE = 1000
_MOST_REMEMBERED = 4096
_COMPONENT = "oarlock-operator"


def build_event(reference: Reference, *, uid: str, note: EventNote, now: float) -> dict[str, Any]:
    """Return the Event for a note: the same note about the same object has the same name."""
    said = f"{uid}\n{note.reason}\n{note.message}".encode()
    name = f"{reference.name}.{hashlib.sha256(said).hexdigest()[:16]}"
    time = _format_time(now)
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": reference.namespace},
        "involvedObject": {
            "apiVersion": API_VERSION,
            "kind": reference.kind,
            "namespace": reference.namespace,
            "name": reference.name,
            "uid": uid,
        },
        "type": "Warning" if note.warning else "Normal",
        "reason": note.reason,
        "message": note.message[:_LONGEST_MESSAGE],
        "source": {"component": _COMPONENT},
        "reportingComponent": _COMPONENT,
        "reportingInstance": _COMPONENT,
        "action": note.reason,
        "firstTimestamp": time,
        "lastTimestamp": time,
        "count": 1,
    }


def build_repetition(count: int, *, now: float) -> dict[str, Any]:
    """Return the merge patch for an Event that is said again."""
    return {"count": count, "lastTimestamp": _format_time(now)}


class Repetitions:
    """How often each Event was said, as far as this process knows."""

    def __init__(self) -> None:
        self._counts: OrderedDict[tuple[str, str], int] = OrderedDict()

    def count(self, event: dict[str, Any]) -> int:
        """Count an Event, and return how often it was said."""
        key = (event["metadata"]["namespace"], event["metadata"]["name"])
        self._counts[key] = self._counts.pop(key, 0) + 1
        if len(self._counts) > _MOST_REMEMBERED:
            self._counts.popitem(last=False)
        return self._counts[key]


def _format_time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
