"""Which nodes pods may use, as the scheduler decides it: node selector, required node affinity, taints. Pure.

Whatever spreads pods or keeps them apart is left to the scheduler, and so are preferences.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from oarlock_operator.reconcile.observed import ObservedNode, Taint

_REPELLING = frozenset({"NoSchedule", "NoExecute"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Tolerated:
    """A toleration."""

    key: str = ""
    """Empty: every taint."""
    operator: str = "Equal"
    value: str = ""
    effect: str = ""
    """Empty: every effect."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Requirement:
    """One expression of a node affinity."""

    key: str
    operator: str
    values: tuple[str, ...] = ()
    is_field: bool = False
    """Whether the key is a field of the node, of which only metadata.name is allowed, and not a label."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Placement:
    """What a node must be like."""

    selector: tuple[tuple[str, str], ...] = ()
    tolerations: tuple[Tolerated, ...] = ()
    terms: tuple[tuple[Requirement, ...], ...] | None = None
    """Required node affinity: one of these, each with all its requirements; None: there is none."""
    avoided: tuple[str, ...] = ()
    """Nodes that the job avoids after failures there."""


def read_placement(template: Mapping[str, Any]) -> Placement:
    """Return the placement that a pod template asks for; what makes no sense is left to the API server to refuse."""
    selector, tolerations = template.get("nodeSelector"), template.get("tolerations")
    return Placement(
        selector=tuple(sorted((str(key), str(value)) for key, value in _mapping(selector).items())),
        tolerations=tuple(_read_toleration(each) for each in _list(tolerations)),
        terms=_read_terms(template.get("affinity")),
    )


def why_not(placement: Placement, node: ObservedNode, *, resources: Sequence[str]) -> str:
    """Return why a pod may not use a node, in a few words; empty if it may.

    A taint that is called like a resource that the pod asks for is left to the scheduler: many clusters let pods tolerate it
    by themselves.
    """
    if not node.is_ready:
        return "not ready"
    if node.is_cordoned:
        return "cordoned"
    taint = _find_repelling(placement, node, resources=resources)
    if taint:
        return f"tainted with {taint}"
    return _why_not_by_labels(placement, node)


def _why_not_by_labels(placement: Placement, node: ObservedNode) -> str:
    labels = node.labels
    if node.name in placement.avoided:
        return "avoided after failures"
    if any(labels.get(key) != value for key, value in placement.selector):
        return "without the labels of nodeSelector"
    if placement.terms is not None and not any(_meets_all(node, term) for term in placement.terms):
        return "outside the node affinity"
    return ""


def _find_repelling(placement: Placement, node: ObservedNode, *, resources: Sequence[str]) -> Taint | None:
    repelling = (taint for taint in node.taints if taint.effect in _REPELLING and taint.key not in resources)
    return next(
        (taint for taint in repelling if not any(_tolerates(each, taint) for each in placement.tolerations)), None
    )


def _tolerates(toleration: Tolerated, taint: Taint) -> bool:
    if toleration.effect and toleration.effect != taint.effect:
        return False
    if not toleration.key:
        return toleration.operator == "Exists"
    same_value = toleration.operator == "Exists" or toleration.value == taint.value
    return toleration.key == taint.key and same_value


def _meets_all(node: ObservedNode, term: tuple[Requirement, ...]) -> bool:
    # A term without requirements matches no node.
    return bool(term) and all(_meets(node, requirement) for requirement in term)


def _meets(node: ObservedNode, requirement: Requirement) -> bool:
    value = node.name if requirement.is_field else node.labels.get(requirement.key)
    match requirement.operator:
        case "In":
            return value in requirement.values
        case "NotIn":
            return value not in requirement.values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case "Gt" | "Lt":
            return _compares(value, requirement)
        case _:
            return False


def _compares(value: str | None, requirement: Requirement) -> bool:
    try:
        there, bound = int(value or ""), int(requirement.values[0])
    except (ValueError, IndexError):
        return False
    return there > bound if requirement.operator == "Gt" else there < bound


def _read_toleration(raw: Any) -> Tolerated:
    fields = _mapping(raw)
    return Tolerated(
        key=str(fields.get("key") or ""),
        operator=str(fields.get("operator") or "Equal"),
        value=str(fields.get("value") or ""),
        effect=str(fields.get("effect") or ""),
    )


def _read_terms(affinity: Any) -> tuple[tuple[Requirement, ...], ...] | None:
    node = _mapping(_mapping(affinity).get("nodeAffinity"))
    required = node.get("requiredDuringSchedulingIgnoredDuringExecution")
    if required is None:
        return None
    return tuple(_read_term(_mapping(each)) for each in _list(_mapping(required).get("nodeSelectorTerms")))


def _read_term(raw: Mapping[str, Any]) -> tuple[Requirement, ...]:
    kinds = (("matchExpressions", False), ("matchFields", True))
    return tuple(
        Requirement(
            key=str(_mapping(each).get("key") or ""),
            operator=str(_mapping(each).get("operator") or ""),
            values=tuple(str(value) for value in _list(_mapping(each).get("values"))),
            is_field=is_field,
        )
        for kind, is_field in kinds
        for each in _list(raw.get(kind))
    )


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
