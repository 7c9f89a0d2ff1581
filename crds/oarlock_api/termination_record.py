"""The last report within the 4,000 bytes that a termination message may have: what tells least goes first, the outcome never.

Standard library only, as the contract that it belongs to. Pure.
"""

import json
from collections.abc import Callable, Collection
from functools import partial
from typing import Any

from oarlock_api.contract import MAX_TERMINATION_BYTES, TerminationRecord

_MESSAGES = frozenset({"warnings", "notes"})
_FIGURES = frozenset({"metrics", "nonFinite"})


def fit_termination_record(record: TerminationRecord) -> str:
    """Serialise within `MAX_TERMINATION_BYTES`, dropping the least useful text first; the outcome always survives."""
    wire = record.to_wire()
    for shorten in _IN_TURN:
        text = json.dumps(wire, separators=(",", ":"), allow_nan=False)
        if len(text.encode()) <= MAX_TERMINATION_BYTES:
            return text
        wire = shorten(wire)
    text = json.dumps(wire, separators=(",", ":"), allow_nan=False)
    if len(text.encode()) <= MAX_TERMINATION_BYTES:
        return text
    kept = (
        "contractVersion",
        "jobUid",
        "runHash",
        "attempt",
        "node",
        "outcome",
        "step",
        "position",
        "checkpointLatest",
    )
    return json.dumps({key: wire[key] for key in kept if key in wire}, separators=(",", ":"))


def _shorten_detail(wire: dict[str, Any]) -> dict[str, Any]:
    failure = dict(wire.get("failure") or {})
    if failure.get("detail"):
        failure["detail"] = "…" + str(failure["detail"])[-700:]
    return {**wire, "failure": failure} if failure else wire


def _drop_class_counts(wire: dict[str, Any]) -> dict[str, Any]:
    dataset = wire.get("dataset")
    return {**wire, "dataset": {**dataset, "classCounts": {}}} if dataset else wire


def _drop_warnings(wire: dict[str, Any]) -> dict[str, Any]:
    return {**wire, "warnings": [str(warning)[:200] for warning in wire.get("warnings", [])[:3]]}


def _shorten_messages(wire: dict[str, Any]) -> dict[str, Any]:
    failure = wire.get("failure")
    dataset = wire.get("dataset")
    if failure:
        wire = {**wire, "failure": {key: _clip(value) for key, value in failure.items()}}
    if dataset:
        wire = {**wire, "dataset": {**dataset, "classes": [], "firstRejects": []}}
    return wire


def _drop(wire: dict[str, Any], *, names: Collection[str]) -> dict[str, Any]:
    """Leave out what only tells how training went, as the status did all along: why it ended is told here alone."""
    return {key: value for key, value in wire.items() if key not in names}


def _clip(value: Any, *, limit: int = 300) -> Any:
    return value[:limit] if isinstance(value, str) else value


_IN_TURN: tuple[Callable[[dict[str, Any]], dict[str, Any]], ...] = (
    *(_shorten_detail, _drop_class_counts, _drop_warnings, _shorten_messages),
    *(partial(_drop, names=names) for names in (_MESSAGES, _FIGURES)),
)
