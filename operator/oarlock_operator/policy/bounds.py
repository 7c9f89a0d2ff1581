"""Bounds on what goes into a status: an object in etcd is small, and what pods say may be long. Pure."""

import json
from typing import Any

from oarlock_api.contract import MAX_FAILURE_BYTES
from oarlock_api.v1alpha1.status import FailureRecord

_MARK = "…"


def wire_size(value: Any) -> int:
    """Return the bytes that a JSON value takes in the API server's store."""
    return len(json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode())


def clip(text: str, limit: int, *, keep_end: bool = False) -> str:
    """Return `text` cut to at most `limit` bytes of JSON, its beginning by default."""
    if len(text) <= limit and wire_size(text) - 2 <= limit:
        return text
    kept = text[-limit:] if keep_end else text[:limit]
    # Escapes and letters of several bytes make the bound longer than it looks, so what is cut is measured again.
    while kept and (excess := wire_size(_MARK + kept) - 2 - limit) > 0:
        cut = max(1, excess // 6)
        kept = kept[cut:] if keep_end else kept[:-cut]
    if not kept:
        return ""
    return _MARK + kept if keep_end else kept + _MARK


def fit_failure(failure: FailureRecord) -> FailureRecord:
    """Return the black box within `MAX_FAILURE_BYTES`: of the traceback, the end is what tells most."""
    bounded = failure.model_copy(
        update={
            "cause": clip(failure.cause, 40),
            "message": clip(failure.message, 320),
            "remedy": clip(failure.remedy, 160),
            "pod": clip(failure.pod, 80),
            "pod_uid": clip(failure.pod_uid, 40),
            "node": clip(failure.node, 64),
            "detail": "",
        }
    )
    room = MAX_FAILURE_BYTES - wire_size(bounded.to_wire())
    return bounded.model_copy(update={"detail": clip(failure.detail, max(0, room), keep_end=True)})
