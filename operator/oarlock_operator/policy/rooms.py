"""How much of what a pod asks for is free, and on which node: the figures behind the scheduler's words. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from oarlock_operator.policy.amounts import format_amount, parse_amount
from oarlock_operator.reconcile.observed import ObservedNode, Room, Taint

_SHOWN = 4
"""Nodes that a message names."""
_HARD = frozenset({"NoSchedule", "NoExecute"})
_ENDED = frozenset({"Succeeded", "Failed"})

Use = dict[str, dict[str, float]]
"""What the pods on a node ask for together, by node and resource."""


def sum_requests(pod_spec: Mapping[str, Any]) -> dict[str, float]:
    """Return what a pod asks for, as the scheduler counts it."""
    together: dict[str, float] = {}
    for container in pod_spec.get("containers") or ():
        for name, amount in _requests(container).items():
            together[name] = together.get(name, 0.0) + amount
    for container in pod_spec.get("initContainers") or ():  # one after the other, before the rest
        for name, amount in _requests(container).items():
            together[name] = max(together.get(name, 0.0), amount)
    for name, quantity in (pod_spec.get("overhead") or {}).items():
        together[name] = together.get(name, 0.0) + parse_amount(quantity)
    return together


def _requests(container: Mapping[str, Any]) -> dict[str, float]:
    asked = (container.get("resources") or {}).get("requests") or {}
    return {name: parse_amount(quantity) for name, quantity in asked.items()}


def count_use(pods: Iterable[Mapping[str, Any]]) -> Use:
    """Return what pods take, as they are on the API server."""
    use: Use = {}
    for pod in pods:
        spec, status = pod.get("spec") or {}, pod.get("status") or {}
        node = spec.get("nodeName")
        if not node or status.get("phase") in _ENDED:
            continue
        taken = use.setdefault(node, {})
        for name, amount in {**sum_requests(spec), "pods": 1.0}.items():
            taken[name] = taken.get(name, 0.0) + amount
    return use


def measure_rooms(nodes: Iterable[ObservedNode], used: Mapping[str, Mapping[str, float]] | None) -> tuple[Room, ...]:
    """Return what is free on each node.

    Args:
        nodes: the nodes of the cluster.
        used: what the pods on a node ask for together, by node; None: not known.
    """
    return tuple(Room(node=node, free=None if used is None else _subtract(node, used)) for node in nodes)


def _subtract(node: ObservedNode, used: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    taken = used.get(node.name, {})
    return {name: max(0.0, amount - taken.get(name, 0.0)) for name, amount in node.allocatable.items()}


def find_open(rooms: Iterable[Room], pod_spec: Mapping[str, Any]) -> list[Room]:
    """Return the nodes that would take the pod if they had enough of everything, as far as labels and taints say."""
    tolerations = pod_spec.get("tolerations") or ()
    return [room for room in select_nodes(rooms, pod_spec) if _is_open(room.node, tolerations)]


def select_nodes(rooms: Iterable[Room], pod_spec: Mapping[str, Any]) -> list[Room]:
    """Return the nodes that have the labels which nodeSelector asks for."""
    selector: Mapping[str, str] = pod_spec.get("nodeSelector") or {}
    return [room for room in rooms if all(room.node.labels.get(key) == value for key, value in selector.items())]


def _is_open(node: ObservedNode, tolerations: Sequence[Mapping[str, Any]]) -> bool:
    return node.is_ready and not node.is_cordoned and not find_taints(node, tolerations)


def find_taints(node: ObservedNode, tolerations: Sequence[Mapping[str, Any]]) -> list[Taint]:
    """Return the taints of a node that keep a pod with these tolerations away."""
    return [taint for taint in node.taints if taint.effect in _HARD and not _is_tolerated(taint, tolerations)]


def _is_tolerated(taint: Taint, tolerations: Sequence[Mapping[str, Any]]) -> bool:
    return any(
        toleration.get("key") in (None, "", taint.key)
        and toleration.get("effect") in (None, "", taint.effect)
        and (toleration.get("operator") == "Exists" or (toleration.get("value") or "") == taint.value)
        for toleration in tolerations
    )


def describe_free(rooms: Sequence[Room], resource: str) -> str:
    """Return `4 on node-a, 0 on node-b and 3 more`: the nodes with most first; empty if it is not known."""
    known = [(room.free.get(resource, 0.0), room.node.name) for room in rooms if room.free is not None]
    if not known:
        return ""
    known.sort(key=lambda pair: (-pair[0], pair[1]))
    shown = ", ".join(f"{format_amount(resource, amount)} on {name}" for amount, name in known[:_SHOWN])
    return shown + (f" and no more on {len(known) - _SHOWN} others" if len(known) > _SHOWN else "")


def largest(rooms: Iterable[Room], resource: str) -> float:
    """Return the most of a resource that a node has when nothing runs on it."""
    return max((room.node.allocatable.get(resource, 0.0) for room in rooms), default=0.0)


def name_nodes(rooms: Iterable[Room]) -> str:
    """Return the names of the first nodes."""
    names = sorted(room.node.name for room in rooms)
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
