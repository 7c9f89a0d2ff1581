"""Keeping a pod away from some nodes, beside whatever the user asks for. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from oarlock_operator.manifests.metadata import Manifest

_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
HOSTNAME_LABEL = "kubernetes.io/hostname"


def exclude_nodes(affinity: Mapping[str, Any] | None, excluded: Sequence[str]) -> Manifest:
    """Return a user's affinity with the demand for other nodes than these.

    One of the terms of a required node affinity must hold, so that the demand goes into each of them.
    """
    if not excluded:
        return dict(affinity or {})
    demand = {"key": HOSTNAME_LABEL, "operator": "NotIn", "values": [*excluded]}
    asked = dict(affinity or {})
    node = dict(asked.get("nodeAffinity") or {})
    required = dict(node.get(_REQUIRED) or {})
    terms = required.get("nodeSelectorTerms") or [{}]
    merged = [{**term, "matchExpressions": [*(term.get("matchExpressions") or ()), demand]} for term in terms]
    return {**asked, "nodeAffinity": {**node, _REQUIRED: {**required, "nodeSelectorTerms": merged}}}
