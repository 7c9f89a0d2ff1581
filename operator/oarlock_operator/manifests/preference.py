"""Drawing a pod to the nodes on which the queue found room for it, beside whatever the user asks for. Pure.

It is a preference only: a pod that finds another node first does no harm, but it may take what the queue keeps for others.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from oarlock_operator.manifests.exclusion import name_node
from oarlock_operator.manifests.metadata import Manifest

_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
_MOST_WEIGHT = 100
_MOST_NODES = 100
"""Nodes that a pod prefers: each of them takes a term of its own, in every pod of the gang."""


def prefer_nodes(affinity: Mapping[str, Any], nodes: Iterable[str]) -> Manifest:
    """Return an affinity with a preference for these nodes."""
    names = sorted(set(nodes))[:_MOST_NODES]
    if not names:
        return dict(affinity)
    terms = [
        {"weight": _MOST_WEIGHT, "preference": {"matchFields": [name_node(name, operator="In")]}} for name in names
    ]
    node = dict(affinity.get("nodeAffinity") or {})
    return {**affinity, "nodeAffinity": {**node, _PREFERRED: [*(node.get(_PREFERRED) or ()), *terms]}}
