"""Drawing a pod to the nodes on which the queue found room for it, beside whatever the user asks for. Pure.

It is a preference only: a pod that finds another node first does no harm, but it may take what the queue keeps for others.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from oarlock_operator.manifests.exclusion import HOSTNAME_LABEL
from oarlock_operator.manifests.metadata import Manifest

_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
_MOST_WEIGHT = 100


def prefer_nodes(affinity: Mapping[str, Any], nodes: Iterable[str]) -> Manifest:
    """Return an affinity with a preference for these nodes."""
    names = sorted(set(nodes))
    if not names:
        return dict(affinity)
    demand = {"key": HOSTNAME_LABEL, "operator": "In", "values": names}
    term = {"weight": _MOST_WEIGHT, "preference": {"matchExpressions": [demand]}}
    node = dict(affinity.get("nodeAffinity") or {})
    return {**affinity, "nodeAffinity": {**node, _PREFERRED: [*(node.get(_PREFERRED) or ()), term]}}
