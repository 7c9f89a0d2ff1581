"""Event objects: what people read about an object's life. Pure."""

import hashlib
from typing import Any

from oarlock.local.pod_status import format_time
from oarlock_operator.reconcile.plans import EventNote, Reference

MAX_EVENTS = 200
"""Kept at most; the oldest go first."""

Object = dict[str, Any]


def build_event(reference: Reference, *, uid: str, note: EventNote, now: float) -> Object:
    """Return the Event; the same note about the same object has the same name, so that it is counted."""
    key = f"{uid}\n{note.reason}\n{note.message}"
    digest = hashlib.sha256(key.encode()).hexdigest()[:16]
    moment = format_time(now)
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {
            "name": f"{reference.name}.{digest}",
            "namespace": reference.namespace or "default",
            "uid": digest,
            "creationTimestamp": moment,
        },
        "involvedObject": {
            "kind": reference.kind,
            "namespace": reference.namespace,
            "name": reference.name,
            "uid": uid,
        },
        "type": "Warning" if note.warning else "Normal",
        "reason": note.reason,
        "message": note.message,
        "source": {"component": "oarlock"},
        "count": 1,
        "firstTimestamp": moment,
        "lastTimestamp": moment,
    }


def count_again(event: Object, *, now: float) -> Object:
    return {**event, "count": event["count"] + 1, "lastTimestamp": format_time(now)}
