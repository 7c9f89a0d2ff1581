"""Keeping a pod away from some nodes, beside whatever the user asks for. Pure.

Nodes are told by their names, and not by the label kubernetes.io/hostname: that is the kubelet's to choose.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from oarlock_operator.manifests.metadata import Manifest

_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


def exclude_nodes(affinity: Mapping[str, Any] | None, excluded: Sequence[str]) -> Manifest:
    """Return a user's affinity with the demand for other nodes than these.

    One of the terms of a required node affinity must hold, so that the demand goes into each of them.
    """
    if not excluded:
        return dict(affinity or {})
    demands = [name_node(node, operator="NotIn") for node in excluded]
    asked = dict(affinity or {})
    node = dict(asked.get("nodeAffinity") or {})
    required = dict(node.get(_REQUIRED) or {})
    terms = required.get("nodeSelectorTerms")
    merged = [_add_fields(term, demands) for term in terms] if terms else [{"matchFields": demands}]
    return {**asked, "nodeAffinity": {**node, _REQUIRED: {**required, "nodeSelectorTerms": merged}}}


def name_node(node: str, *, operator: str) -> Manifest:
    """Return the requirement that a node is this one (`In`), or is not (`NotIn`): of fields, each takes one value exactly."""
    return {"key": "metadata.name", "operator": operator, "values": [node]}


def _add_fields(term: Mapping[str, Any], demands: Sequence[Manifest]) -> Manifest:
    # A term that asks for nothing matches no node, and must not match all others instead.
    return {**term, "matchFields": [*(term.get("matchFields") or ()), *demands]} if term else {}
