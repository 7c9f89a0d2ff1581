"""Which pods the machine takes. Pure.

Cores and memory are shared as between any programs of one machine; what cannot be shared, GPUs, is counted.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from oarlock.local.environment import parse_amount

Object = Mapping[str, Any]


def find_shortage(pod: Object, *, node: Object, pods: Iterable[Object]) -> str:
    """Return why the pod does not fit on the node beside the pods that are bound there; empty if it does."""
    capacity = node["status"]["allocatable"]
    taken = [other for other in pods if _holds_resources(other)]
    for resource, wanted in _count_extended(pod).items():
        free = parse_amount(str(capacity.get(resource, "0"))) - sum(_count_extended(o).get(resource, 0) for o in taken)
        if wanted > free:
            return f"0/1 nodes are available: 1 Insufficient {resource} ({wanted:g} wanted, {max(free, 0):g} free on this machine)."
    return ""


def _holds_resources(pod: Object) -> bool:
    bound = bool(pod["spec"].get("nodeName"))
    return bound and pod.get("status", {}).get("phase") not in ("Succeeded", "Failed")


def _count_extended(pod: Object) -> dict[str, float]:
    counts: dict[str, float] = {}
    for container in pod["spec"]["containers"]:
        for resource, amount in container.get("resources", {}).get("limits", {}).items():
            if "/" in resource:
                counts[resource] = counts.get(resource, 0) + parse_amount(str(amount))
    return counts
