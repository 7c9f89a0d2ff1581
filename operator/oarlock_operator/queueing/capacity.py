"""What there is to give out: nodes with what they have, and what is taken of it by pods that no admitted job has. Pure."""

from dataclasses import dataclass

from oarlock_operator.policy.amounts import parse_amount
from oarlock_operator.queueing.jobs import Needs
from oarlock_operator.reconcile.observed import ObservedNode

BUDGET = "the budget"
"""Name of the one node that a budget is."""


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
        ValueError: naming the part that cannot be read.
    """
    budget: dict[str, float] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        resource, _, amount = part.partition("=")
        if not resource or not amount or (parse_amount(amount) <= 0 and amount.strip() != "0"):
            raise ValueError(f"a budget must read RESOURCE=AMOUNT, as in nvidia.com/gpu=16,cpu=64, got {part!r}")
        budget[resource.strip()] = parse_amount(amount)
    return budget


def build_budget(amounts: dict[str, float], occupied: tuple[Occupied, ...] = ()) -> Capacity:
    """Return a budget as a capacity: one node that everybody may use."""
    return Capacity(
        nodes=(ObservedNode(name=BUDGET, is_ready=True, allocatable=amounts),), occupied=occupied, is_budget=True
    )
