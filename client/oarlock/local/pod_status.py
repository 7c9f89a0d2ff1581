"""Pod statuses as the kubelet writes them. Pure: times are parameters, in seconds since 1970."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

Status = dict[str, Any]

_COMPLETED, _ERROR, _START_ERROR = "Completed", "Error", "StartError"


def format_time(seconds: float) -> str:
    """Return a moment as the API server writes it."""
    return datetime.fromtimestamp(seconds, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def build_waiting_status(
    pod: Mapping[str, Any], *, now: float, reason: str, message: str = "", address: str = ""
) -> Status:
    """Return the status of a pod that is on a node and not yet running."""
    waiting = {"waiting": {"reason": reason, **({"message": message} if message else {})}}
    return {
        **_build_common(pod, now=now, address=address),
        "phase": "Pending",
        "conditions": _build_conditions(pod, now=now, ready=False, reason="ContainersNotReady"),
        "containerStatuses": [_build_container(pod, waiting, ready=False)],
    }


def build_running_status(pod: Mapping[str, Any], *, now: float, address: str, pid: int) -> Status:
    running = {"running": {"startedAt": format_time(now)}}
    return {
        **_build_common(pod, now=now, address=address),
        "phase": "Running",
        "conditions": _build_conditions(pod, now=now, ready=True),
        "containerStatuses": [_build_container(pod, running, ready=True, container_id=f"process://{pid}")],
    }


def build_ended_status(
    pod: Mapping[str, Any],
    *,
    now: float,
    exit_code: int,
    started: float | None,
    finished: float,
    message: str,
    problem: str = "",
) -> Status:
    """Return the status of a pod whose command has ended.

    `message` is what it left in its termination log; `problem` says why it could not be started.
    """
    reason = _START_ERROR if problem else _COMPLETED if exit_code == 0 else _ERROR
    terminated = {
        "exitCode": exit_code,
        "reason": reason,
        **({"message": message or problem} if message or problem else {}),
        "startedAt": format_time(started if started is not None else finished),
        "finishedAt": format_time(finished),
    }
    return {
        **_build_common(pod, now=now),
        "phase": "Succeeded" if exit_code == 0 else "Failed",
        "conditions": _build_conditions(
            pod, now=now, ready=False, reason="PodCompleted" if exit_code == 0 else "PodFailed"
        ),
        "containerStatuses": [_build_container(pod, {"terminated": terminated}, ready=False)],
    }


def build_refused_status(pod: Mapping[str, Any], *, now: float, reason: str, message: str) -> Status:
    """Return the status of a pod that never runs, or of which nobody knows how it ended."""
    return {
        **_build_common(pod, now=now),
        "phase": "Failed",
        "reason": reason,
        "message": message,
        "conditions": _build_conditions(pod, now=now, ready=False, reason="PodFailed"),
        "containerStatuses": pod.get("status", {}).get("containerStatuses", []),
    }


def build_scheduled_status(*, now: float) -> Status:
    """Return the status of a pod that the scheduler has just bound to a node."""
    return {"phase": "Pending", "conditions": [_build_condition(None, "PodScheduled", holds=True, reason="", now=now)]}


def build_unschedulable_status(pod: Mapping[str, Any], *, now: float, message: str) -> Status:
    """Return the status of a pod for which there is no room."""
    known = {condition["type"]: condition for condition in pod.get("status", {}).get("conditions", ())}
    condition = _build_condition(
        known.get("PodScheduled"), "PodScheduled", holds=False, reason="Unschedulable", now=now
    )
    return {"phase": "Pending", "conditions": [{**condition, "message": message}]}


def _build_common(pod: Mapping[str, Any], *, now: float, address: str = "") -> Status:
    known = pod.get("status", {})
    address = address or known.get("podIP", "")
    return {
        "startTime": known.get("startTime", format_time(now)),
        "qosClass": known.get("qosClass", "Burstable"),
        "hostIP": "127.0.0.1",
        **({"podIP": address, "podIPs": [{"ip": address}]} if address else {}),
    }


def _build_conditions(pod: Mapping[str, Any], *, now: float, ready: bool, reason: str = "") -> list[dict[str, Any]]:
    known = {condition["type"]: condition for condition in pod.get("status", {}).get("conditions", ())}
    wanted = {"PodScheduled": True, "Initialized": True, "ContainersReady": ready, "Ready": ready}
    return [
        _build_condition(known.get(kind), kind, holds=holds, reason=reason, now=now) for kind, holds in wanted.items()
    ]


def _build_condition(
    known: Mapping[str, Any] | None, kind: str, *, holds: bool, reason: str, now: float
) -> dict[str, Any]:
    status = "True" if holds else "False"
    unchanged = known is not None and known.get("status") == status
    since = known["lastTransitionTime"] if known is not None and unchanged else format_time(now)
    return {
        "type": kind,
        "status": status,
        "lastTransitionTime": since,
        **({"reason": reason} if reason and not holds else {}),
    }


def _build_container(
    pod: Mapping[str, Any], state: Mapping[str, Any], *, ready: bool, container_id: str = ""
) -> dict[str, Any]:
    container = pod["spec"]["containers"][0]
    known = pod.get("status", {}).get("containerStatuses") or [{}]
    return {
        "name": container["name"],
        "image": container.get("image", ""),
        "imageID": "",
        "containerID": container_id or known[0].get("containerID", ""),
        "ready": ready,
        "started": ready,
        "restartCount": 0,
        "state": dict(state),
    }
