"""Jobs and nodes for tests of the queue: each builder shows only what matters."""

from typing import Any

from oarlock_operator.queueing.admit import admit
from oarlock_operator.queueing.capacity import Capacity, Occupied
from oarlock_operator.queueing.jobs import QueuedJob
from oarlock_operator.queueing.verdicts import Stand, Verdict
from oarlock_operator.reconcile.observed import ObservedNode

NOW = 1_800_000_000.0
GPU = "nvidia.com/gpu"


def make_node(name: str = "n1", gpus: float = 8, **fields: Any) -> ObservedNode:
    return ObservedNode(**{"name": name, "is_ready": True, "allocatable": {GPU: gpus}, **fields})


def make_capacity(*nodes: ObservedNode, occupied: tuple[Occupied, ...] = ()) -> Capacity:
    return Capacity(nodes=nodes, occupied=occupied)


def occupy(node: str, gpus: float, *, until: float | None = None) -> Occupied:
    return Occupied(node=node, needs=((GPU, gpus),), until=until)


def make_job(name: str = "job", gpus: float = 8, *, pods: int = 1, age: float = 0.0, **fields: Any) -> QueuedJob:
    values: dict[str, Any] = {
        "uid": name,
        "namespace": "team",
        "name": name,
        "created": NOW - age,
        "since": NOW - age,
        "pods": pods,
        "needs": ((GPU, gpus),),
    }
    return QueuedJob(**{**values, **fields})


def hold(name: str, gpus: float = 8, *nodes: str, **fields: Any) -> QueuedJob:
    """A job that runs: one pod on each of these nodes."""
    return make_job(name, gpus, pods=len(nodes), bound=nodes, is_admitted=True, **fields)


def decide(*jobs: QueuedJob, capacity: Capacity | None = None) -> dict[str, Verdict]:
    return admit(jobs, capacity or make_capacity(make_node()), now=NOW)


def stands(verdicts: dict[str, Verdict]) -> dict[str, str]:
    letters = {Stand.ADMITTED: "in", Stand.WAITING: "waits", Stand.PREEMPTED: "out"}
    return {name: letters[verdict.stand] for name, verdict in sorted(verdicts.items())}
