"""From the cluster's objects to what planning is given: times as seconds since 1970, absent fields as empty values.

Pure: no I/O, no clock. Objects may come from any version of Kubernetes and from anybody, so nothing here trusts a field to be
there; what the pods say themselves goes through `untrusted`.
"""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from oarlock_api.contract import Cause
from oarlock_operator import names
from oarlock_operator.plain_text import clean_text
from oarlock_operator.pod_containers import read_containers, read_message, read_reason
from oarlock_operator.policy.amounts import parse_amount
from oarlock_operator.policy.rooms import sum_requests
from oarlock_operator.policy.times import parse_time
from oarlock_operator.reconcile.observed import (
    ObservedClaim,
    ObservedNode,
    ObservedObject,
    ObservedPod,
    ObservedPodGroup,
    ObservedService,
    Taint,
)
from oarlock_operator.untrusted import Identity, read_termination_record

Object = Mapping[str, Any]

_LONGEST_MESSAGE = 1024
_LONGEST_PHASE = 32
_LARGEST_NUMBER = 10**6
_SIGNAL_OFFSET = 128
"""A process that a signal kills ends with this exit code plus the signal."""
_LARGEST_EXIT_CODE = 255


def observe_object(raw: Object) -> ObservedObject:
    """Observe the metadata and the spec of a Dataset or a TrainingJob."""
    metadata = raw["metadata"]
    return ObservedObject(
        name=metadata["name"],
        namespace=metadata.get("namespace", ""),
        uid=metadata.get("uid", ""),
        generation=int(metadata.get("generation", 0)),
        resource_version=metadata.get("resourceVersion", ""),
        created=parse_time(metadata.get("creationTimestamp")) or 0.0,
        deleting="deletionTimestamp" in metadata,
        finalizers=tuple(metadata.get("finalizers") or ()),
        spec=raw.get("spec") or {},
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class SeenPod:
    """A pod, with what the operator itself needs of it beside planning."""

    pod: ObservedPod
    status_port: int
    """Port of its agent; 0 if it has none."""
    note: str = ""
    """Why its termination record is not used."""
    devices: tuple[tuple[str, float], ...] = ()
    """What it takes of extended resources, such as GPUs."""
    asks: tuple[tuple[str, float], ...] = ()
    """What it asks for of cores and of memory, in bytes."""


def observe_pod(raw: Object) -> SeenPod:
    """Observe a pod, whoever made it."""
    metadata, spec, status = raw["metadata"], raw.get("spec") or {}, raw.get("status") or {}
    owner, attempt = owner_uid(raw), _number(raw, names.ATTEMPT_LABEL)
    run_hash = (metadata.get("annotations") or {}).get(names.RUN_HASH_ANNOTATION, "")
    containers = read_containers(spec, status)
    ended = containers.ended
    expected = Identity(job_uid=owner, attempt=attempt, run_hash=run_hash)
    said = read_termination_record(ended.get("message") or "", expected=expected)
    pod = ObservedPod(
        name=metadata["name"],
        uid=metadata.get("uid", ""),
        owner_uid=owner,
        attempt=attempt,
        rank=_number(raw, names.RANK_LABEL),
        run_hash=run_hash,
        phase=containers.phase,
        created=parse_time(metadata.get("creationTimestamp")) or 0.0,
        role=str((metadata.get("labels") or {}).get(names.ROLE_LABEL) or ""),
        deleting="deletionTimestamp" in metadata,
        delete_by=parse_time(metadata.get("deletionTimestamp")),
        scheduled=bool(spec.get("nodeName")),
        scheduled_at=_scheduled_at(status),
        unschedulable=_unschedulable(status),
        is_gated=_condition(status, "PodScheduled", "False").get("reason") == "SchedulingGated",
        pod_group=_find_pod_group(metadata),
        node=spec.get("nodeName") or "",
        ip=status.get("podIP") or "",
        started=parse_time(containers.running.get("startedAt") or ended.get("startedAt")),
        waiting_reason=read_reason(containers.waiting),
        waiting_message=read_message(containers.waiting),
        holdup=containers.holdup,
        lingers=containers.lingers,
        pod_reason=read_reason(status),
        pod_message=read_message(status),
        disruption=read_reason(_condition(status, "DisruptionTarget", "True")),
        exit_code=ended.get("exitCode"),
        signal=_signal(ended),
        container_reason=read_reason(ended),
        finished=parse_time(ended.get("finishedAt")),
        termination=said.value,
    )
    return SeenPod(
        pod=pod, status_port=_status_port(spec), note=said.note, devices=observe_devices(spec), asks=_observe_asks(spec)
    )


def observe_claim(raw: Object, *, message: str = "") -> ObservedClaim:
    """Observe a PersistentVolumeClaim; `message` is the latest warning about it."""
    metadata = raw["metadata"]
    return ObservedClaim(
        name=metadata["name"],
        uid=metadata.get("uid", ""),
        phase=(raw.get("status") or {}).get("phase") or "Pending",
        access_modes=tuple((raw.get("spec") or {}).get("accessModes") or ()),
        labels=dict(metadata.get("labels") or {}),
        owner_uid=owner_uid(raw),
        storage_class=(raw.get("spec") or {}).get("storageClassName") or "",
        created=parse_time(metadata.get("creationTimestamp")) or 0.0,
        deleting="deletionTimestamp" in metadata,
        message=message,
    )


def observe_service(raw: Object) -> ObservedService:
    metadata = raw["metadata"]
    return ObservedService(
        name=metadata["name"],
        uid=metadata.get("uid", ""),
        owner_uid=owner_uid(raw),
        deleting="deletionTimestamp" in metadata,
    )


def observe_pod_group(raw: Object) -> ObservedPodGroup:
    """Observe a PodGroup. Volcano writes why it cannot be placed into a condition, coscheduling into its pods."""
    metadata, status = raw["metadata"], raw.get("status") or {}
    return ObservedPodGroup(
        name=metadata["name"],
        uid=metadata.get("uid", ""),
        owner_uid=owner_uid(raw),
        attempt=_number(raw, names.ATTEMPT_LABEL),
        deleting="deletionTimestamp" in metadata,
        phase=clean_text(str(status.get("phase") or ""), limit=_LONGEST_PHASE),
        message=read_message(_condition(status, "Unschedulable", "True")),
    )


def _find_pod_group(metadata: Object) -> str:
    labels, annotations = metadata.get("labels") or {}, metadata.get("annotations") or {}
    return str(labels.get(names.COSCHEDULING_GROUP_LABEL) or annotations.get(names.VOLCANO_GROUP_ANNOTATION) or "")


def observe_node(raw: Object) -> ObservedNode:
    """Observe a node. The node controller says Unknown of one that is silent: it is not ready then."""
    metadata, spec, status = raw["metadata"], raw.get("spec") or {}, raw.get("status") or {}
    taints = (
        Taint(key=each.get("key") or "", value=each.get("value") or "", effect=each.get("effect") or "")
        for each in spec.get("taints") or ()
    )
    return ObservedNode(
        name=metadata["name"],
        is_ready=bool(_condition(status, "Ready", "True")),
        is_cordoned=bool(spec.get("unschedulable")),
        taints=tuple(taints),
        labels=dict(metadata.get("labels") or {}),
        allocatable={name: parse_amount(amount) for name, amount in (status.get("allocatable") or {}).items()},
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class ObjectWarning:
    """A warning event about an object."""

    kind: str
    namespace: str
    name: str
    uid: str
    message: str


def observe_warning(raw: Object) -> ObjectWarning:
    """Observe an Event: about what, and what it says, beginning with its reason."""
    about = raw.get("involvedObject") or raw.get("regarding") or {}
    text = clean_text(str(raw.get("message") or raw.get("note") or ""), limit=_LONGEST_MESSAGE)
    reason = read_reason(raw)
    return ObjectWarning(
        kind=about.get("kind") or "",
        namespace=about.get("namespace") or "",
        name=about.get("name") or "",
        uid=about.get("uid") or "",
        message=f"{reason}: {text}" if reason else text,
    )


def owner_uid(raw: Object) -> str:
    """UID of the controlling owner; empty if there is none."""
    return str(_controller(raw).get("uid") or "")


def find_owner(raw: Object) -> tuple[str, str]:
    """Kind and name of the TrainingJob or Dataset that an object was made for, by owner or by label; ("", "") if none."""
    controller = _controller(raw)
    if controller.get("kind") in {"TrainingJob", "Dataset"}:
        return controller["kind"], controller["name"]
    labels = raw["metadata"].get("labels") or {}
    if job := labels.get(names.JOB_LABEL):
        return "TrainingJob", job
    if dataset := labels.get(names.DATASET_LABEL):
        return "Dataset", dataset
    return "", ""


def find_claims(raw: Object) -> frozenset[str]:
    """Names of the claims that users bring: those that the spec or the status of a Dataset or a TrainingJob names.

    Specs are not validated yet, so that any value may be anything.
    """
    spec, status = raw.get("spec"), raw.get("status")
    places = [
        *(_dig(spec, "checkpoints", "volume", "claim"), _dig(spec, "storage", "claim")),
        *(_dig(spec, "source", "volume", "claim"), _dig(status, "claim"), _dig(status, "checkpoint", "claim")),
        *(_dig(status, "run", "dataset", "claim"), _dig(status, "run", "checkpoints", "claim")),
        _find_weights_claim(status),
        *_template_claims(_dig(spec, "workers", "podTemplate")),
        *_template_claims(_dig(spec, "podTemplate")),
        *_template_claims(_dig(status, "run", "workers", "podTemplate")),
    ]
    return frozenset(place for place in places if place and isinstance(place, str))


def find_earlier_job(raw: Object) -> str:
    """Name of the job from whose weights one that is not accepted yet is to begin; empty if there is none."""
    if _dig(raw.get("status"), "run") is not None:
        return ""
    name = _dig(raw.get("spec"), "model", "initFrom", "job")
    return name if isinstance(name, str) else ""


def find_checkpoint_claim(raw: Object) -> str:
    """Name of the claim that holds the checkpoints of a job which was accepted; empty if it was not."""
    claim = _dig(raw.get("status"), "run", "checkpoints", "claim")
    return claim if isinstance(claim, str) else ""


def _find_weights_claim(status: Any) -> Any:
    """Claim with a job's first weights, while it has no checkpoint instead, or has one that may be of no use."""
    failures = _dig(status, "failures")
    cause = _dig(failures[-1], "cause") if isinstance(failures, list) and failures else None
    is_resumed = _dig(status, "checkpoint", "latest") is not None and cause != Cause.STORAGE_FAILED
    return None if is_resumed else _dig(status, "run", "firstWeights", "claim")


def _template_claims(template: Any) -> Iterator[Any]:
    volumes = _dig(template, "volumes")
    for volume in volumes if isinstance(volumes, list) else ():
        yield _dig(volume, "claim")


def _dig(value: Any, *path: str) -> Any:
    for key in path:
        if not isinstance(value, Mapping):
            return None
        value = value.get(key)
    return value


def _controller(raw: Object) -> Mapping[str, Any]:
    references = raw["metadata"].get("ownerReferences") or ()
    return next((reference for reference in references if reference.get("controller")), {})


def _number(raw: Object, label: str) -> int:
    """Value of a label of ours; -1 if it is absent or nonsense, which no attempt and no rank is."""
    with contextlib.suppress(ValueError):
        number = int((raw["metadata"].get("labels") or {}).get(label, ""))
        return number if 0 <= number <= _LARGEST_NUMBER else -1
    return -1


def observe_devices(spec: Object) -> tuple[tuple[str, float], ...]:
    """What a pod takes of extended resources: they are never overcommitted, so that limits say it."""
    devices: dict[str, float] = {}
    for container in spec.get("containers") or ():
        for name, amount in ((container.get("resources") or {}).get("limits") or {}).items():
            if "/" in name:
                devices[name] = devices.get(name, 0.0) + parse_amount(amount)
    return tuple(sorted(devices.items()))


def _observe_asks(spec: Object) -> tuple[tuple[str, float], ...]:
    asked = sum_requests(spec)
    return tuple((name, asked[name]) for name in ("cpu", "memory") if asked.get(name))


def _condition(status: Object, kind: str, value: str) -> Mapping[str, Any]:
    conditions = status.get("conditions") or ()
    return next((each for each in conditions if each.get("type") == kind and each.get("status") == value), {})


def _unschedulable(status: Object) -> str:
    condition = _condition(status, "PodScheduled", "False")
    return read_message(condition) or read_reason(condition)


def _scheduled_at(status: Object) -> float | None:
    return parse_time(_condition(status, "PodScheduled", "True").get("lastTransitionTime"))


def _signal(ended: Object) -> int | None:
    """The signal that ended the container: runtimes leave it to the exit code, as a rule."""
    if ended.get("signal"):
        return int(ended["signal"])
    code = ended.get("exitCode") or 0
    return code - _SIGNAL_OFFSET if _SIGNAL_OFFSET < code <= _LARGEST_EXIT_CODE else None


def _status_port(spec: Object) -> int:
    """The port of our own container: one that a webhook added may call a port of its own so."""
    containers = [each for each in spec.get("containers") or () if each.get("name") == names.TRAINER_CONTAINER]
    ports = [port for each in containers for port in each.get("ports") or () if port.get("name") == "status"]
    return int(ports[0]["containerPort"]) if ports else 0
