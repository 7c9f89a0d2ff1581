"""Which pod failed first, and why: its termination record, else what the cluster says of it. Pure."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from oarlock_api.contract import CAUSES_BY_EXIT_CODE, EXIT_SUSPENDED, Cause, Outcome
from oarlock_api.v1alpha1.status import FailureRecord
from oarlock_operator.policy.bounds import fit_failure
from oarlock_operator.policy.causes import CONSEQUENCES, OperatorCause
from oarlock_operator.policy.init_containers import describe_end
from oarlock_operator.policy.restarts import BUDGETS
from oarlock_operator.policy.times import format_time
from oarlock_operator.policy.wait import blame_webhook, name_container
from oarlock_operator.reconcile.observed import ObservedPod

SETTLE_SECONDS = 5.0
"""Seconds to wait for the culprit while only pods are known that failed because another one did."""
_KILLED, _TERMINATED = 137, 143

_DISRUPTIONS: dict[str, OperatorCause] = {
    "PreemptionByScheduler": OperatorCause.PREEMPTED,
    "PreemptionByKubeScheduler": OperatorCause.PREEMPTED,
    "Preempting": OperatorCause.PREEMPTED,
    "Preempted": OperatorCause.PREEMPTED,
    "DeletionByTaintManager": OperatorCause.NODE_LOST,
    "DeletionByPodGC": OperatorCause.NODE_LOST,
    "NodeLost": OperatorCause.NODE_LOST,
    "EvictionByEvictionAPI": OperatorCause.EVICTED,
    "TerminationByKubelet": OperatorCause.EVICTED,
    "Evicted": OperatorCause.EVICTED,
    "NodeShutdown": OperatorCause.EVICTED,
    "Shutdown": OperatorCause.EVICTED,
    "Terminated": OperatorCause.EVICTED,
    "NodeAffinity": OperatorCause.NODE_REFUSED,
    "UnexpectedAdmissionError": OperatorCause.NODE_REFUSED,
}
_OWN_DISK = re.compile(
    r"ephemeral local storage usage exceeds|exceeds the limit|exceeded its local ephemeral storage limit", re.IGNORECASE
)
"""What a kubelet says of a pod that used more disk than it may. Of a node that is low on something it says other words."""
_START_ERRORS = frozenset({"StartError", "ContainerCannotRun", "ContainerStatusUnknown"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Culprit:
    """The failure that an attempt is judged by."""

    failure: FailureRecord
    settled_at: float
    """Seconds since 1970 from which on nobody better is waited for."""


def is_failing(pod: ObservedPod, *, lost_nodes: frozenset[str]) -> bool:
    """Say whether a worker or import pod has ended in any way but success, or is about to."""
    if pod.phase == "Succeeded":
        return pod.termination is not None and pod.termination.outcome != Outcome.SUCCEEDED
    return pod.phase in ("Failed", "Unknown") or pod.deleting or pod.node in lost_nodes


def find_culprit(
    pods: Sequence[ObservedPod], missing: Mapping[int, str], *, attempt: int, lost_nodes: frozenset[str], now: float
) -> Culprit | None:
    """Return the failure that came first in an attempt; None if none is seen.

    Args:
        pods: the pods of the attempt.
        missing: names of pods that were there and are gone, by rank.
        attempt: number of the attempt.
        lost_nodes: nodes that are not ready or gone.
        now: seconds since 1970.
    """
    failing = [pod for pod in pods if is_failing(pod, lost_nodes=lost_nodes)]
    found = [(describe_failure(pod, lost_nodes=lost_nodes, now=now), pod.finished) for pod in failing]
    found += [(_describe_missing(name, rank, attempt=attempt, now=now), None) for rank, name in missing.items()]
    if not found:
        return None
    first, finished = min(found, key=_seniority)
    all_ended = len(failing) == len(pods)
    # Of a node whose clock is wrong it may not be known; or it is ahead of ours, and nobody waits until ours has caught up.
    is_ahead = finished is not None and finished > now + SETTLE_SECONDS
    settled = first.cause not in CONSEQUENCES or all_ended or finished is None or is_ahead
    return Culprit(failure=first, settled_at=now if settled else (finished or now) + SETTLE_SECONDS)


def _seniority(candidate: tuple[FailureRecord, float | None]) -> tuple[bool, float, int]:
    failure, finished = candidate
    last = float("inf")
    return failure.cause in CONSEQUENCES, last if finished is None else finished, failure.rank or 0


def describe_failure(pod: ObservedPod, *, lost_nodes: frozenset[str], now: float) -> FailureRecord:
    """Return the black box of one pod: what its record says, else what the cluster knows."""
    said: Mapping[str, Any] = (pod.termination and pod.termination.failure) or {}
    cause = classify(pod, lost_nodes=lost_nodes)
    told = said if said and cause == said.get("cause") else {}
    where = f"pod {pod.name}" + (f" on node {pod.node}" if pod.node else "")
    message, remedy = _EXPLANATIONS.get(cause, _explain_exit)(pod, where)
    return fit_failure(
        FailureRecord(
            attempt=pod.attempt,
            cause=cause,
            message=f"{where}: {str(told['message']).removesuffix('.')}" if told.get("message") else message,
            remedy=str(told.get("remedy") or remedy),
            pod=pod.name,
            pod_uid=pod.uid,
            node=pod.node,
            rank=told.get("rank"),
            step=told.get("step"),
            detail=str(told.get("detail") or ""),
            time=format_time(now),
        )
    )


def classify(pod: ObservedPod, *, lost_nodes: frozenset[str]) -> str:
    """Return the cause of one pod's failure. What the cluster did to the pod weighs more than what the pod says of it."""
    for decide in (_by_disruption, _by_record, _by_container, _by_init_container, _by_exit_code):
        if cause := decide(pod):
            return cause
    if pod.node in lost_nodes or pod.phase == "Unknown":
        return OperatorCause.NODE_LOST
    return OperatorCause.POD_DELETED if pod.deleting else Cause.UNKNOWN


def _by_disruption(pod: ObservedPod) -> str | None:
    if pod.pod_reason == "Evicted" and _OWN_DISK.search(pod.pod_message):
        # The pod itself used more disk than it may: on another node it would do so again.
        return Cause.STORAGE_FULL
    if pod.pod_reason.startswith("OutOf"):
        return OperatorCause.NODE_REFUSED
    return _DISRUPTIONS.get(pod.disruption) or _DISRUPTIONS.get(pod.pod_reason)


def _by_record(pod: ObservedPod) -> str | None:
    record = pod.termination
    if record is None:
        return None
    if record.failure:
        said = record.failure.get("cause")
        return str(said) if said in BUDGETS else Cause.UNKNOWN
    if record.outcome == Outcome.SUPERSEDED:
        return Cause.SUPERSEDED
    if record.outcome == Outcome.SUSPENDED:
        return OperatorCause.POD_DELETED if pod.deleting else OperatorCause.INTERRUPTED
    return None


def _by_container(pod: ObservedPod) -> str | None:
    if pod.container_reason == "OOMKilled":
        return Cause.OUT_OF_MEMORY
    return OperatorCause.CONTAINER_REFUSED if pod.container_reason in _START_ERRORS else None


def _by_init_container(pod: ObservedPod) -> str | None:
    """An init container that fails ends a pod that is not restarted: the trainer's own has never run."""
    has_failed = pod.phase == "Failed" and pod.holdup is not None and pod.holdup.exit_code is not None
    return OperatorCause.INIT_CONTAINER_FAILED if has_failed and not pod.deleting else None


def _by_exit_code(pod: ObservedPod) -> str | None:
    if pod.deleting or pod.exit_code in (None, 0):
        return None
    if pod.exit_code in (EXIT_SUSPENDED, _TERMINATED):
        return OperatorCause.INTERRUPTED
    if pod.exit_code == _KILLED or pod.signal:
        return Cause.PROCESS_KILLED
    return CAUSES_BY_EXIT_CODE.get(pod.exit_code or 0, Cause.UNKNOWN)


def _describe_missing(name: str, rank: int, *, attempt: int, now: float) -> FailureRecord:
    return FailureRecord(
        attempt=attempt,
        cause=OperatorCause.POD_DELETED,
        message=f"pod {name} (node rank {rank}) is gone without having ended",
        remedy="training resumes by itself; if it happens again, look for who deletes pods",
        pod=name,
        time=format_time(now),
    )


_RESUMES = "training resumes by itself from the last checkpoint"


def _because(pod: ObservedPod) -> str:
    said = pod.pod_message or pod.pod_reason or pod.disruption
    return f": {said}" if said else ""


def _explain_exit(pod: ObservedPod, where: str) -> tuple[str, str]:
    how = f"signal {pod.signal}" if pod.signal else f"exit code {pod.exit_code}"
    said = pod.pod_message or pod.container_reason
    return f"{where} ended with {how}" + (f": {said}" if said else ""), "read the pod's log on the checkpoint volume"


Explain = Callable[[ObservedPod, str], tuple[str, str]]

_EXPLANATIONS: Mapping[str, Explain] = {
    OperatorCause.EVICTED: lambda pod, where: (f"{where} was evicted{_because(pod)}", _RESUMES),
    OperatorCause.PREEMPTED: lambda pod, where: (
        f"{where} made room for a pod of higher priority{_because(pod)}",
        f"{_RESUMES}; a higher workers.podTemplate.priorityClassName protects it",
    ),
    OperatorCause.NODE_LOST: lambda pod, _where: (
        f"node {pod.node} of pod {pod.name} is lost{_because(pod)}",
        _RESUMES,
    ),
    OperatorCause.NODE_REFUSED: lambda pod, where: (f"{where} was refused by the node{_because(pod)}", _RESUMES),
    OperatorCause.POD_DELETED: lambda _pod, where: (
        f"{where} was deleted",
        f"{_RESUMES}; to stop it, set runPolicy.suspend or delete the TrainingJob",
    ),
    OperatorCause.INTERRUPTED: lambda _pod, where: (f"{where} was asked to stop, and did", _RESUMES),
    OperatorCause.CONTAINER_REFUSED: lambda pod, where: (
        f"the container of {where} cannot start{_because(pod)}",
        "check the image: it needs python and the oarlock trainer",
    ),
    OperatorCause.INIT_CONTAINER_FAILED: lambda pod, _where: (
        f"{name_container(pod)} {describe_end(pod)}, and the trainer starts only after it",
        blame_webhook(pod),
    ),
    Cause.OUT_OF_MEMORY: lambda _pod, where: (
        f"{where} used more memory than it may",
        "raise the memory in resources, or lower microBatchSize",
    ),
    Cause.STORAGE_FULL: lambda pod, where: (f"{where} ran out of disk{_because(pod)}", "free or enlarge the volume"),
    Cause.PROCESS_KILLED: lambda pod, where: (
        f"{where} was killed{_because(pod)}",
        "look for an out-of-memory kill or a hardware fault in the node's log",
    ),
    Cause.DEVICE_FAILED: lambda pod, where: (
        f"a GPU of {where} failed{_because(pod)}",
        "take the node out of service (kubectl cordon) and see its kernel log",
    ),
    Cause.HUNG: lambda _pod, where: (
        f"{where} made no progress within runPolicy.progressDeadlineSeconds",
        "see the stack in the pod's log on the checkpoint volume, or raise the deadline if the phase is only slow",
    ),
    Cause.RENDEZVOUS_FAILED: lambda _pod, where: (
        f"{where} did not meet the other pods of the job in time",
        "see that all pods run, that DNS answers, and that a NetworkPolicy lets them reach one another on all ports",
    ),
    Cause.COLLECTIVE_FAILED: lambda _pod, where: (
        f"{where} lost the other pods of the job",
        "see the pod that ended first; if none did, check the network between the nodes",
    ),
    Cause.NON_FINITE: lambda _pod, where: (
        f"the loss in {where} was not finite",
        "lower recipe.optimizer.learningRate, lengthen schedule.warmupFraction or set gradientClipNorm",
    ),
    Cause.DATA_MISSING: lambda _pod, where: (
        f"{where} did not find its data set",
        "check that the claim of the Dataset holds it, and import the Dataset again if it does not",
    ),
    Cause.DATA_CORRUPT: lambda _pod, where: (
        f"{where} found its data set damaged",
        "delete the folder of this data set version and import the Dataset again",
    ),
    Cause.STORAGE_FAILED: lambda _pod, where: (
        f"{where} could not use a volume",
        "check that the volume is mounted, writable and healthy; the pod's log names it",
    ),
    Cause.CHECKPOINT_MISMATCH: lambda _pod, where: (
        f"{where} found checkpoints of another run",
        "put the former recipe back to go on, or give the job another name to train anew",
    ),
    Cause.CONFIG_INVALID: lambda _pod, where: (
        f"{where} was started with variables that it cannot act on",
        "see the pod's log, and that no podTemplate overrides OARLOCK_ variables",
    ),
    Cause.USER_ERROR: lambda _pod, where: (
        f"{where} ended with an exception",
        "see the traceback in the pod's log on the checkpoint volume",
    ),
    Cause.SUPERSEDED: lambda _pod, where: (f"{where} found a later attempt of its job on the volume", _RESUMES),
}
