"""What a pod waits for, and what the waits of all kinds are given to explain it with. Pure values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from oarlock_operator.names import AGENT_CONTAINER
from oarlock_operator.policy.causes import OperatorCause
from oarlock_operator.reconcile.observed import ObservedClaim, ObservedContainer, ObservedPod, Room

MAX_SAID = 260
"""Bytes of what another program says that a message repeats."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Wait:
    """What one pod waits for."""

    reason: str
    message: str
    cause: str = OperatorCause.STARTUP_DEADLINE_EXCEEDED
    """What it counts as if it lasts beyond the startup deadline."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Surroundings:
    """What pods wait in."""

    claims: Mapping[str, ObservedClaim] = field(default_factory=dict)
    """Claims by name."""
    pod_spec: Mapping[str, Any] = field(default_factory=dict)
    """The spec that the pods were created with; empty: not known."""
    rooms: Sequence[Room] = ()
    """The cluster's nodes with what is free on them; empty: not known."""
    is_local: bool = False
    """Whether pods are processes of the user's own machine, for which no image is pulled."""


def locate(pod: ObservedPod) -> str:
    """Return a pod and its node as messages name them."""
    return f"pod {pod.name} on node {pod.node}"


def name_container(pod: ObservedPod) -> str:
    """Return the container that holds a pod up, with its pod and node, as messages name them."""
    return f"{call_holdup(pod.holdup)} of {locate(pod)}" if pod.holdup else f"the container of {locate(pod)}"


def call_holdup(container: ObservedContainer) -> str:
    return f"{'init container' if container.is_init else 'container'} {container.name}"


def blame_webhook(pod: ObservedPod) -> str:
    """Return what to do about a container that is not ours."""
    name = pod.holdup.name if pod.holdup else ""
    if name == AGENT_CONTAINER:
        return f"See `kubectl logs {pod.name} -c {name}`: it copies the agent out of the trainer image, which must be of this release"
    return f"See `kubectl logs {pod.name} -c {name}`, and the webhook that adds it (kubectl get mutatingwebhookconfigurations)"
