"""What the containers of a pod say together: the trainer's decides, and one that others added may hold it up. Pure.

A pod of ours has one container. Webhooks add more: what a service mesh sends along, init containers that prepare the network or
fetch secrets. Such a container must neither hide what the trainer's did, nor keep a job from ending once that has ended.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from oarlock_operator import names
from oarlock_operator.plain_text import clean_text
from oarlock_operator.policy.times import parse_time
from oarlock_operator.reconcile.observed import ObservedContainer

Object = Mapping[str, Any]

_LONGEST_MESSAGE = 1024
_LONGEST_REASON = 128
_LONGEST_IMAGE = 200
_UNTELLING = frozenset({"", "PodInitializing", "ContainerCreating"})
"""Reasons to wait that every container has for a while."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Containers:
    """The containers of a pod."""

    phase: str
    """The pod's phase, as it would be with the trainer's container alone."""
    running: Object
    """The state of the trainer's container while it runs; else empty."""
    ended: Object
    """The state of the trainer's container once it has ended; else empty."""
    waiting: Object
    """What the trainer's container waits for, or the one that holds it up; empty: nothing."""
    holdup: ObservedContainer | None
    lingers: bool


@dataclass(frozen=True, slots=True)
class _Holdup:
    container: ObservedContainer
    waiting: Object


def read_containers(spec: Object, status: Object) -> Containers:
    """Read the spec and the status of a pod."""
    trainer = _find_trainer(status)
    running, ended, waiting = (_state(trainer, state) for state in ("running", "terminated", "waiting"))
    phase = status.get("phase") or "Pending"
    holdup = None if running or ended else _find_holdup(spec, status, trainer_waits=read_reason(waiting))
    # Alone, it is left to the kubelet to say that the pod has ended: it does when it has tidied up.
    is_outlived = bool(ended) and any(not _state(each, "terminated") for each in status.get("containerStatuses") or ())
    return Containers(
        phase=_judge_phase(phase, status, running=running, ended=ended, is_outlived=is_outlived),
        running=running,
        ended=ended,
        waiting=holdup.waiting if holdup and holdup.waiting else waiting,
        holdup=holdup.container if holdup else None,
        lingers=is_outlived and phase not in ("Succeeded", "Failed"),
    )


def _judge_phase(phase: str, status: Object, *, running: Object, ended: Object, is_outlived: bool) -> str:
    """Return the phase by the trainer's container. What the kubelet itself did to the pod, as evicting it, stands."""
    if phase in ("Pending", "Running"):
        if is_outlived:
            return "Succeeded" if ended.get("exitCode") == 0 else "Failed"
        return "Running" if running else phase
    went_well = bool(ended) and ended.get("exitCode") == 0 and not status.get("reason")
    return "Succeeded" if phase == "Failed" and went_well else phase


def _find_trainer(status: Object) -> Object:
    containers = status.get("containerStatuses") or ()
    return next((each for each in containers if each.get("name") == names.TRAINER_CONTAINER), {})


def _find_holdup(spec: Object, status: Object, *, trainer_waits: str) -> _Holdup | None:
    """Return what keeps the trainer's container from starting: the first init container that is not through, before all."""
    staying = {each["name"] for each in spec.get("initContainers") or () if each.get("restartPolicy") == "Always"}
    for init in status.get("initContainerStatuses") or ():
        if not _is_through(init, stays=init.get("name") in staying):
            return _describe_init(init, stays=init.get("name") in staying)
    return None if trainer_waits not in _UNTELLING else next(_list_waiting_sidecars(status), None)


def _is_through(init: Object, *, stays: bool) -> bool:
    """Say whether the next container may start: kubelets say `started` of a container that passed its startup probe."""
    if stays:
        return bool(_state(init, "running")) and init.get("started") is not False
    return _state(init, "terminated").get("exitCode") == 0


def _describe_init(init: Object, *, stays: bool) -> _Holdup | None:
    """Return an init container as what holds the pod up; None if it is only about to be created."""
    waiting = _state(init, "waiting")
    if read_reason(waiting) in _UNTELLING and not _state(init, "running") and not _state(init, "terminated"):
        return None
    return _Holdup(replace(_observe(init), is_init=True, stays=stays), waiting)


def _list_waiting_sidecars(status: Object) -> Iterator[_Holdup]:
    """Yield the containers beside the trainer's that cannot be created: a kubelet may see to them first."""
    for each in status.get("containerStatuses") or ():
        waiting = _state(each, "waiting")
        if each.get("name") != names.TRAINER_CONTAINER and read_reason(waiting) not in _UNTELLING:
            yield _Holdup(_observe(each), waiting)


def _observe(container: Object) -> ObservedContainer:
    last = container.get("lastState") or {}
    ended = _state(container, "terminated") or last.get("terminated") or {}
    return ObservedContainer(
        name=clean_text(str(container.get("name") or ""), limit=_LONGEST_REASON),
        image=clean_text(str(container.get("image") or ""), limit=_LONGEST_IMAGE),
        running_since=parse_time(_state(container, "running").get("startedAt")),
        exit_code=ended.get("exitCode"),
        ended_reason=read_reason(ended),
        ended_message=read_message(ended),
    )


def _state(container: Object, state: str) -> Object:
    found: Object = (container.get("state") or {}).get(state) or {}
    return found


def read_message(part: Object) -> str:
    return clean_text(str(part.get("message") or ""), limit=_LONGEST_MESSAGE)


def read_reason(part: Object) -> str:
    """A reason is one word, but anybody may write Events, and some may write the status of a pod."""
    return clean_text(str(part.get("reason") or ""), limit=_LONGEST_REASON)
