"""The API server's audit log: who asked for what, and whether it was allowed. Only service accounts are noted, not their bodies."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

_POLICY = """\
apiVersion: audit.k8s.io/v1
kind: Policy
# A watch is noted when it begins: its end may be minutes away.
omitStages: [RequestReceived]
rules:
  - level: Metadata
    userGroups: ["system:serviceaccounts"]
  - level: None
"""
_DECISION, _FORBIDDEN = "authorization.k8s.io/decision", "forbid"


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class Request:
    """One kind of request of one user."""

    verb: str
    group: str
    resource: str
    """With its subresource: `pods/log`. Of a request for no resource, its path."""
    namespace: str
    name: str
    allowed: bool
    """By the account's rights: what admission refuses later, such as a quota, is no matter of them."""


def build_audit_flags(folder: Path) -> Sequence[str]:
    """Return the flags with which an API server keeps a log in `folder`, for which the policy is written."""
    policy = folder / "audit-policy.yaml"
    policy.write_text(_POLICY)
    return [f"--audit-policy-file={policy}", f"--audit-log-path={_log(folder)}", "--audit-log-maxsize=10000"]


def read_requests(folder: Path, *, user: str) -> frozenset[Request]:
    """Return every request that a user has made so far."""
    return frozenset(_parse(folder, user))


def _parse(folder: Path, user: str) -> Iterator[Request]:
    with _log(folder).open() as lines:
        for line in lines:
            # The server may be in the middle of the last line.
            if f'"{user}"' not in line or not line.endswith("\n"):
                continue
            event = json.loads(line)
            if event["user"]["username"] != user:
                continue
            about = event.get("objectRef") or {}
            parts = (about.get("resource") or event["requestURI"].partition("?")[0], about.get("subresource"))
            yield Request(
                verb=event["verb"],
                group=about.get("apiGroup", ""),
                resource="/".join(filter(None, parts)),
                namespace=about.get("namespace", ""),
                name=about.get("name", ""),
                allowed=(event.get("annotations") or {}).get(_DECISION) != _FORBIDDEN,
            )


def _log(folder: Path) -> Path:
    return folder / "audit.log"
