"""What an API server's refusals mean to the port. Pure.

The HTTP status alone does not say it: 409 is a name that is taken, an object that changed, or a quota that somebody else is
updating; only the reason in the body tells them apart.
"""

import contextlib
import json
from collections.abc import Mapping
from typing import Any

from oarlock_operator.cluster.port import (
    AlreadyExistsError,
    ClusterError,
    ConflictError,
    NotFoundError,
    RefusedError,
    UnavailableError,
)
from oarlock_operator.plain_text import clean_text
from oarlock_operator.reconcile.plans import Reference

_UNAUTHORIZED, _NOT_FOUND, _CONFLICT, _GONE, _TOO_MANY = 401, 404, 409, 410, 429
_SERVER_ERRORS = 500
_LONGEST_MESSAGE = 1000


class GoneError(ClusterError):
    """The resource version is too old to be watched or listed from."""


def build_error(
    status: int, content: bytes, *, headers: Mapping[str, str], verb: str, reference: Reference | None
) -> ClusterError:
    """Return the error that an HTTP answer with a status of 400 or more stands for."""
    body = _parse(content)
    # Admission webhooks put anything into a refusal, and it ends up in statuses.
    message = clean_text(str(body.get("message") or f"HTTP status {status}"), limit=_LONGEST_MESSAGE)
    reason = body.get("reason")
    kind: type[ClusterError] = RefusedError
    if status == _GONE:
        kind = GoneError
    elif status == _NOT_FOUND and verb != "create":
        kind = NotFoundError
    elif status == _CONFLICT and verb == "create":
        # Any other conflict of a creation is between the server's own writes, such as to a quota: it passes.
        kind = AlreadyExistsError if reason == "AlreadyExists" else UnavailableError
    elif status == _CONFLICT:
        kind = ConflictError
    elif status in {_UNAUTHORIZED, _TOO_MANY} or status >= _SERVER_ERRORS:
        # 401: a token that ran out; the next request reads the new one.
        return UnavailableError(message, reference=reference, status=status, retry_after=_retry_after(headers, body))
    return kind(message, reference=reference, status=status)


def _retry_after(headers: Mapping[str, str], body: Mapping[str, Any]) -> float:
    seconds = headers.get("Retry-After") or (body.get("details") or {}).get("retryAfterSeconds") or 0
    with contextlib.suppress(ValueError):
        return max(0.0, float(seconds))
    return 0.0


def _parse(content: bytes) -> Mapping[str, Any]:
    try:
        body = json.loads(content)
    except ValueError:
        return {"message": content[:_LONGEST_MESSAGE].decode(errors="replace").strip()}
    return body if isinstance(body, dict) else {}
