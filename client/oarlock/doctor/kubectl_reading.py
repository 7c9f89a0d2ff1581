"""Reads the evidence with kubectl: it knows every way to log in, and shows the user's own rights."""

import json
import shutil
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from oarlock.doctor.evidence import Evidence, NoSuchJobError, Object, UnreadableError
from oarlock_operator import names, observing

if TYPE_CHECKING:
    from collections.abc import Sequence

_SECONDS = 30
_TIMEOUT = "--request-timeout=15s"


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Which cluster and namespace."""

    kubeconfig: str = ""
    context: str = ""
    namespace: str = ""
    """Empty: that of the context."""

    def options(self) -> list[str]:
        chosen = (("--kubeconfig", self.kubeconfig), ("--context", self.context), ("--namespace", self.namespace))
        return [word for option, value in chosen if value for word in (option, value)]


class _RefusedError(Exception):
    """kubectl failed; the message is its own."""


def read_cluster(name: str, place: Place) -> Evidence:
    """Return what a cluster says of a job.

    Raises:
        NoSuchJobError: naming those that there are.
        UnreadableError: kubectl is missing, or gets no answer.
    """
    if shutil.which("kubectl") is None:
        raise UnreadableError("kubectl is not installed, or not on PATH: install it, or use --local for a runs folder")
    try:
        job = _get(place, "trainingjobs.oarlock.dev", name)
    except _RefusedError as error:
        raise _explain_failure(name, place, str(error)) from None
    return _gather(job, place)


def _explain_failure(name: str, place: Place, said: str) -> Exception:
    if "(NotFound)" not in said:
        return UnreadableError(
            f"the cluster cannot be asked: {said.rstrip('.? ')}. Check --kubeconfig, --context and --namespace"
        )
    where = f"namespace {place.namespace}" if place.namespace else "the namespace of the current context"
    try:
        known = [item["metadata"]["name"] for item in _list(place, "trainingjobs.oarlock.dev")]
    except _RefusedError:
        known = []
    return NoSuchJobError(name, where, known)


def _gather(job: Object, place: Place) -> Evidence:
    """Read everything else at once; what may not be read is left out and said."""
    uid, dataset = job["metadata"]["uid"], ((job.get("spec") or {}).get("dataset") or {}).get("name")
    questions: dict[str, Sequence[str]] = {
        "pods": ("pods", "-l", f"{names.UID_LABEL}={uid}"),
        "persistentvolumeclaims": ("persistentvolumeclaims",),
        "events": ("events",),
        "nodes": ("nodes",),
        "pods of all namespaces": ("pods", "--all-namespaces"),
        "datasets": ("datasets.oarlock.dev",),
    }
    with ThreadPoolExecutor(max_workers=3) as pool:
        found = dict(zip(questions, pool.map(lambda words: _try(place, *words), questions.values()), strict=True))
    unread = tuple(f"{what}: {said}" for what, said in found.items() if isinstance(said, str))
    read = {what: items for what, items in found.items() if not isinstance(items, str)}
    pods = read.get("pods", [])
    used = observing.find_claims(job) | {names.checkpoint_claim_name(job["metadata"]["name"])}
    claims = [item for item in read.get("persistentvolumeclaims", []) if item["metadata"]["name"] in used]
    about = {item["metadata"]["uid"] for item in (job, *pods, *claims)}
    events = [item for item in read.get("events", []) if (item.get("involvedObject") or {}).get("uid") in about]
    return Evidence(
        where=f"namespace {job['metadata']['namespace']}",
        job=job,
        now=time.time(),
        dataset=next((item for item in read.get("datasets", []) if item["metadata"]["name"] == dataset), None),
        pods=tuple(pods),
        claims=tuple(claims),
        events=tuple(sorted(events, key=_time_of)),
        nodes=tuple(read["nodes"]) if "nodes" in read else None,
        others=tuple(read["pods of all namespaces"]) if "pods of all namespaces" in read else None,
        unread=unread,
    )


def _time_of(event: Object) -> str:
    metadata = event["metadata"]
    return str(event.get("lastTimestamp") or event.get("eventTime") or metadata.get("creationTimestamp") or "")


def _try(place: Place, *words: str) -> list[Object] | str:
    try:
        return _list(place, *words)
    except _RefusedError as error:
        return str(error)


def _list(place: Place, *words: str) -> list[Object]:
    items: list[Object] = _ask(place, "get", *words)["items"]
    return items


def _get(place: Place, kind: str, name: str) -> Object:
    found: Object = _ask(place, "get", kind, "--", name)
    return found


def _ask(place: Place, *words: str) -> Any:
    options = [*place.options(), "--output", "json", _TIMEOUT]
    command = ["kubectl", *words[:1], *options, *words[1:]]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_SECONDS)
    except subprocess.TimeoutExpired:
        raise _RefusedError(f"no answer within {_SECONDS} s") from None
    if done.returncode:
        raise _RefusedError(" ".join(done.stderr.split("\n")[-2:]).strip() or f"kubectl ended with {done.returncode}")
    return json.loads(done.stdout)
