"""What is kept of each object that is seen: of custom objects their text, of all others what planning is given. Pure."""

import json
from dataclasses import dataclass
from typing import Any

from oarlock_api.v1alpha1.status import FINISHED_JOB_PHASES
from oarlock_operator import observing
from oarlock_operator.observing import Object, SeenPod
from oarlock_operator.queueing.demand import Demand, read_demand
from oarlock_operator.reconcile.plans import Reference


@dataclass(frozen=True, kw_only=True, slots=True)
class Stored:
    """A custom object: as text, which takes a tenth of the memory, with the few facts that others are found by."""

    uid: str
    text: bytes
    dataset: str = ""
    """The Dataset that an unfinished job refers to."""
    phase: str = ""
    has_begun: bool = False
    """Whether a job was accepted."""
    demand: Demand | None = None
    """What the queue needs to know of a job."""
    for_users: int = 0
    """Changes with what the jobs of a Dataset depend on: without this, every new job would have all others planned."""

    def load(self) -> dict[str, Any]:
        raw: dict[str, Any] = json.loads(self.text)
        return raw


@dataclass(frozen=True, kw_only=True, slots=True)
class Child:
    """An observed Service, PersistentVolumeClaim or PodGroup, with the key that it was made for."""

    owner: Reference | None
    seen: Any


@dataclass(frozen=True, kw_only=True, slots=True)
class OwnedPod:
    """An observed pod, with the key that it was made for."""

    owner: Reference | None
    seen: SeenPod


def keep_job(raw: Object) -> Stored:
    status, spec = raw.get("status") or {}, raw.get("spec") or {}
    phase, reference = status.get("phase") or "", spec.get("dataset")
    name = reference.get("name") if isinstance(reference, dict) else None
    is_user = isinstance(name, str) and phase not in FINISHED_JOB_PHASES
    return Stored(
        uid=raw["metadata"].get("uid", ""),
        text=_write(raw),
        dataset=name if is_user and name else "",
        phase=phase,
        has_begun=bool(status.get("run")),
        demand=read_demand(raw),
    )


def keep_dataset(raw: Object) -> Stored:
    status = raw.get("status") or {}
    return Stored(
        uid=raw["metadata"].get("uid", ""),
        text=_write(raw),
        phase=status.get("phase") or "",
        for_users=_digest_for_users(raw),
    )


def keep_pod(raw: Object) -> OwnedPod:
    return OwnedPod(owner=_owner(raw), seen=observing.observe_pod(raw))


def keep_service(raw: Object) -> Child:
    return Child(owner=_owner(raw), seen=observing.observe_service(raw))


def keep_claim(raw: Object) -> Child:
    return Child(owner=_owner(raw), seen=observing.observe_claim(raw))


def keep_pod_group(raw: Object) -> Child:
    return Child(owner=_owner(raw), seen=observing.observe_pod_group(raw))


def _write(raw: Object) -> bytes:
    metadata = {key: value for key, value in raw["metadata"].items() if key != "managedFields"}
    return json.dumps({**raw, "metadata": metadata}, separators=(",", ":")).encode()


def _digest_for_users(raw: Object) -> int:
    status = {key: value for key, value in (raw.get("status") or {}).items() if key not in {"holders", "conditions"}}
    return hash(json.dumps([status, "deletionTimestamp" in raw["metadata"]], sort_keys=True))


def _owner(raw: Object) -> Reference | None:
    kind, name = observing.find_owner(raw)
    return Reference(kind=kind, namespace=raw["metadata"].get("namespace", ""), name=name) if kind else None
