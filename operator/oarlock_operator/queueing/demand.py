"""What the queue reads of a job's object: whether it waits or holds a place, and what that takes. Pure.

Kept for every unfinished job, so it is small, and what many jobs share is shared.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from oarlock_api.v1alpha1.status import FINISHED_JOB_PHASES, JobPhase
from oarlock_api.v1alpha1.training_job import Elastic
from oarlock_operator.policy.amounts import parse_amount
from oarlock_operator.policy.elastic import clamp_nodes
from oarlock_operator.policy.exclusion import compute_expiry
from oarlock_operator.policy.phases import ACTIVE
from oarlock_operator.policy.times import parse_time
from oarlock_operator.queueing.jobs import Needs
from oarlock_operator.queueing.placement import Placement, read_placement


@dataclass(frozen=True, kw_only=True, slots=True)
class Demand:
    """A job with a frozen run that waits for a place, or holds one."""

    uid: str
    is_admitted: bool
    is_handed_over: bool
    """Whether another queue decides of it."""
    priority: int
    created: float
    since: float
    """Since when it waits."""
    pods: int
    least: int
    """With how many pods it would begin: fewer than all only if it is elastic."""
    wanted: int = 0
    """How many pods an elastic job should have; 0: their number is fixed."""
    gpus: float
    """GPUs of each pod."""
    gpu_resource: str
    cpu: float
    """Cores of each pod."""
    memory: float
    """Bytes of each pod."""
    placement: Placement
    """Which nodes its pods may use, but for those that it avoids."""
    avoided: tuple[tuple[str, float], ...] = ()
    """Nodes that the job avoids after failures there, each with the time at which that is forgotten."""
    ends: float | None = None
    """When it is expected to end."""

    def differs_from(self, other: "Demand | None") -> bool:
        """Whether the queue must decide anew: an expected end changes all the time, and is looked at now and then."""
        return other is None or replace(self, ends=None) != replace(other, ends=None)

    def find_placement(self, *, now: float) -> Placement:
        """Return which nodes its pods may use now."""
        avoided = tuple(node for node, until in self.avoided if now < until)
        return replace(self.placement, avoided=avoided) if avoided else self.placement


def read_demand(raw: Mapping[str, Any]) -> Demand | None:
    """Return the demand of a TrainingJob; None: it wants no place, or its status cannot be read."""
    status, spec, metadata = raw.get("status") or {}, raw.get("spec") or {}, raw["metadata"]
    policy, phase = _mapping(spec.get("runPolicy")), status.get("phase")
    workers = _mapping(_mapping(status.get("run")).get("workers"))
    if not workers or phase in FINISHED_JOB_PHASES or "deletionTimestamp" in metadata:
        return None
    is_admitted = says_admitted(status)
    if not is_admitted and (phase != JobPhase.QUEUED or policy.get("suspend")):
        return None
    try:
        return _read(metadata, spec, status, workers, is_admitted=is_admitted)
    except (TypeError, ValueError):
        return None  # somebody edited the status by hand: planning says so


def says_admitted(status: Mapping[str, Any]) -> bool:
    """Say whether a job holds a place: one that ran before there was a queue does, too."""
    conditions = [each for each in status.get("conditions") or () if each.get("type") == "Admitted"]
    return conditions[0].get("status") == "True" if conditions else status.get("phase") in ACTIVE


def find_needs(
    *, gpus: float, gpu_resource: str, cpu: float, memory: float, budget: Mapping[str, float] | None
) -> Needs:
    """Return what is counted of a pod: GPUs, or with a budget what that names. Empty: the job need not wait."""
    wants = ((gpu_resource, float(gpus)), ("cpu", cpu), ("memory", memory))
    counted = {gpu_resource} if budget is None else budget.keys()
    return tuple((resource, amount) for resource, amount in wants if resource in counted and amount > 0)


def _read(
    metadata: Mapping[str, Any],
    spec: Mapping[str, Any],
    status: Mapping[str, Any],
    workers: Mapping[str, Any],
    *,
    is_admitted: bool,
) -> Demand:
    policy = _mapping(spec.get("runPolicy"))
    created = parse_time(metadata.get("creationTimestamp")) or 0.0
    pods = int(_mapping(status.get("gang")).get("nodes") or workers["nodes"])
    elastic = _mapping(workers.get("elastic"))
    template = _mapping(workers.get("podTemplate"))
    where = {name: template[name] for name in ("nodeSelector", "tolerations", "affinity") if template.get(name)}
    return Demand(
        uid=str(metadata.get("uid") or ""),
        is_admitted=is_admitted,
        is_handed_over=bool(policy.get("queue")),
        priority=int(policy.get("priority") or 0),
        created=created,
        since=parse_time(_mapping(status.get("queue")).get("since")) or created,
        pods=pods,
        least=min(int(elastic.get("minNodes") or pods), pods),
        wanted=_read_wanted(spec, elastic, pods) if elastic else 0,
        gpus=float(workers.get("gpusPerNode") or 0),
        gpu_resource=str(workers.get("gpuResource") or ""),
        cpu=float(workers.get("cpu") or 0),
        memory=parse_amount(workers.get("memory") or 0),
        placement=_share_placement(json.dumps(where, sort_keys=True)) if where else _ANYWHERE,
        avoided=_read_avoided(status),
        ends=_read_end(_mapping(status.get("progress"))) if is_admitted else None,
    )


def _read_wanted(spec: Mapping[str, Any], elastic: Mapping[str, Any], pods: int) -> int:
    asked = _mapping(spec.get("workers")).get("nodes", 1)
    bounds = Elastic.from_wire(dict(elastic))
    return clamp_nodes(asked, bounds) if isinstance(asked, int) else pods


def _read_end(progress: Mapping[str, Any]) -> float | None:
    eta, updated = progress.get("etaSeconds"), parse_time(progress.get("updated"))
    return updated + float(eta) if eta is not None and updated is not None else None


def _read_avoided(status: Mapping[str, Any]) -> tuple[tuple[str, float], ...]:
    excluded = (_mapping(each) for each in status.get("excludedNodes") or ())
    return tuple(sorted((str(each.get("node")), compute_expiry(each.get("since"))) for each in excluded))


_ANYWHERE = Placement()


@lru_cache(maxsize=1024)
def _share_placement(template: str) -> Placement:
    return read_placement(json.loads(template))


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
