"""What there is to give out: nodes with what they have, and what is taken of it by pods that no admitted job has. Pure."""

import re
from dataclasses import dataclass

from oarlock_operator.policy.amounts import parse_amount
from oarlock_operator.queueing.jobs import Needs
from oarlock_operator.reconcile.observed import ObservedNode

BUDGET = "the budget"
"""Name of the one node that a budget is."""
_PART = re.compile(
    r"(?P<resource>[A-Za-z0-9][-A-Za-z0-9_./]*)=(?P<amount>[0-9]{1,15}(\.[0-9]{1,9})?([numkMGTPE]|[KMGTPE]i)?)"
)
"""One resource of a budget. The schema of the chart's values has the same."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Occupied:
    """What a pod takes on a node without belonging to an admitted job."""

    node: str
    needs: Needs
    until: float | None = None
    """When it gives that back, since it is ending; None: nobody knows."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Capacity:
    """Everything that jobs may be given."""

    nodes: tuple[ObservedNode, ...]
    occupied: tuple[Occupied, ...] = ()
    is_budget: bool = False
    """Whether it is one number for each resource instead of real nodes."""


def parse_budget(text: str) -> dict[str, float]:
    """Return the amounts that a budget such as `nvidia.com/gpu=16,cpu=64` names.

    Raises:
        ValueError: naming the part that cannot be read, or the resource that is named twice.
    """
    budget: dict[str, float] = {}
    for part in (part.strip(" ") for part in text.split(",") if text.strip(" ")):
        match = _PART.fullmatch(part)
        if match is None:
            raise ValueError(f"a budget must read RESOURCE=AMOUNT, as in nvidia.com/gpu=16,cpu=64, got {part!r}")
        if match["resource"] in budget:
            raise ValueError(f"a budget must name each resource once, got {match['resource']} twice in {text!r}")
        budget[match["resource"]] = parse_amount(match["amount"])
    return budget


def build_budget(amounts: dict[str, float], occupied: tuple[Occupied, ...] = ()) -> Capacity:
    """Return a budget as a capacity: one node that everybody may use."""
    return Capacity(
        nodes=(ObservedNode(name=BUDGET, is_ready=True, allocatable=amounts),), occupied=occupied, is_budget=True
    )
