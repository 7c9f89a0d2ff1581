"""What the scheduler says when no node takes a pod, taken apart: how many nodes have which obstacle. Pure.

The wording differs between versions of Kubernetes; what is not understood is kept as it was said.
"""

import re
from dataclasses import dataclass
from enum import StrEnum


class Hindrance(StrEnum):
    """Why a node does not take a pod: first what the scheduler looks at last, since such a node would nearly do."""

    SHORT = "Short"
    """It has too little of a resource left: `detail` names it."""
    FULL = "Full"
    """It has as many pods as it takes."""
    PORTS = "Ports"
    ZONE = "Zone"
    """A volume of the pod can only be used elsewhere."""
    VOLUME = "Volume"
    """No volume for a claim of the pod can be had there."""
    AFFINITY = "Affinity"
    """The pods that are or are not on it do not fit pod affinity or spread constraints."""
    SELECTOR = "Selector"
    """It lacks the labels that nodeSelector or the node affinity asks for."""
    TAINTED = "Tainted"
    """It has a taint that the pod does not tolerate: `detail` is the taint."""
    CORDONED = "Cordoned"
    NOT_READY = "NotReady"
    OTHER = "Other"


@dataclass(frozen=True, slots=True)
class Obstacle:
    """One obstacle, and how many nodes have it."""

    nodes: int
    kind: Hindrance
    detail: str


_NODE_CONDITIONS = {
    "node.kubernetes.io/unschedulable": Hindrance.CORDONED,
    "node.kubernetes.io/not-ready": Hindrance.NOT_READY,
    "node.kubernetes.io/unreachable": Hindrance.NOT_READY,
}
"""Taints that stand for something else."""

_TAINT = re.compile(r"taint(?:\(s\))? \{(?P<taint>[^}]*)\}")
_KINDS: tuple[tuple[re.Pattern[str], Hindrance], ...] = (
    (re.compile(r"^Insufficient (?P<detail>\S+)"), Hindrance.SHORT),
    (re.compile(r"^Too many pods"), Hindrance.FULL),
    (re.compile(r"were unschedulable"), Hindrance.CORDONED),
    (re.compile(r"(were )?not ready"), Hindrance.NOT_READY),
    (re.compile(r"pod (anti-)?affinity|anti-affinity rules|topology spread"), Hindrance.AFFINITY),
    (re.compile(r"node selector|node affinity/selector|Pod's node affinity|NodeAffinity"), Hindrance.SELECTOR),
    (re.compile(r"free ports"), Hindrance.PORTS),
    (re.compile(r"volume node affinity conflict|available volume zone"), Hindrance.ZONE),
    (
        re.compile(r"persistent volumes to bind|max volume count|unbound|persistentvolume|ReadWriteOncePod"),
        Hindrance.VOLUME,
    ),
)
_HEAD = re.compile(r"^\d+/\d+ nodes are available: ")
_BETWEEN = re.compile(r", (?=\d+ )")
_COUNTED = re.compile(r"^(?P<nodes>\d+) (?P<what>.+)$")


def read_scheduler(message: str) -> list[Obstacle]:
    """Return the obstacles that a message of the scheduler names."""
    # What follows is about pods that could make room, which none can.
    said = _HEAD.sub("", message.split(" preemption: ", maxsplit=1)[0]).strip().rstrip(".")
    parts = (_COUNTED.match(part) for part in _BETWEEN.split(said))
    return [_read(int(part["nodes"]), part["what"].removeprefix("node(s) ").rstrip(".")) for part in parts if part]


def _read(nodes: int, what: str) -> Obstacle:
    if taint := _TAINT.search(what):
        key, _, value = taint["taint"].partition(":")
        name = f"{key.strip()}={value.strip()}" if value.strip() else key.strip()
        return Obstacle(nodes, _NODE_CONDITIONS.get(key.strip(), Hindrance.TAINTED), name)
    for words, kind in _KINDS:
        if found := words.search(what):
            return Obstacle(nodes, kind, found.groupdict().get("detail") or what)
    return Obstacle(nodes, Hindrance.OTHER, what)
