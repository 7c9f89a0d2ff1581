"""Why a pod does not run yet: the culprit and the remedy, from what scheduler, kubelet and volumes say. Pure."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from oarlock_operator.policy.causes import OperatorCause
from oarlock_operator.reconcile.observed import ObservedClaim, ObservedPod

IMAGE_REASONS = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable"}
)
CONTAINER_REASONS = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Wait:
    """What one pod waits for."""

    reason: str
    message: str
    cause: str = OperatorCause.STARTUP_DEADLINE_EXCEEDED
    """What it counts as if it lasts beyond the startup deadline."""


def explain_wait(pods: Iterable[ObservedPod], claims: Mapping[str, ObservedClaim]) -> Wait | None:
    """Return what holds up those pods that do not run: what a person must see to first; None if all run."""
    waits = [_explain_pod(pod, claims) for pod in sorted(pods, key=lambda pod: pod.rank) if not _has_started(pod)]
    return min(waits, key=lambda wait: _URGENCY.get(wait.reason, 1), default=None)


_URGENCY = {"ClaimMissing": 2, "ClaimPending": 2, "Unschedulable": 2, "Creating": 3, "Scheduling": 3}
"""Errors of the manifest stand before what may pass by itself."""


def _has_started(pod: ObservedPod) -> bool:
    return pod.phase not in ("Pending", "Unknown")


def _explain_pod(pod: ObservedPod, claims: Mapping[str, ObservedClaim]) -> Wait:
    if not pod.scheduled:
        return _explain_unscheduled(pod, claims)
    where = f"pod {pod.name} on node {pod.node}"
    said = f": {pod.waiting_message}" if pod.waiting_message else ""
    if pod.waiting_reason in IMAGE_REASONS:
        return Wait(
            reason=pod.waiting_reason,
            message=f"{where} cannot pull its image{said}. Check the image's name, and imagePullSecrets if it is private",
            cause=OperatorCause.IMAGE_UNAVAILABLE,
        )
    if pod.waiting_reason in CONTAINER_REASONS:
        return Wait(
            reason=pod.waiting_reason,
            message=f"the container of {where} cannot be created{said}. Check the Secrets, ConfigMaps and volumes that"
            " podTemplate names, and the image",
            cause=OperatorCause.CONTAINER_REFUSED,
        )
    doing = f" ({pod.waiting_reason})" if pod.waiting_reason else ""
    return Wait(reason="Creating", message=f"{where} is being created{doing}{said}")


def _explain_unscheduled(pod: ObservedPod, claims: Mapping[str, ObservedClaim]) -> Wait:
    if claim := _find_troubled(claims):
        return Wait(reason="ClaimPending", message=describe_claim(claim), cause=OperatorCause.UNSCHEDULABLE)
    if said := _CLAIM_TROUBLE.search(pod.unschedulable):
        return Wait(
            reason="ClaimMissing" if said["name"] else "ClaimPending",
            message=f"no node for pod {pod.name}: {pod.unschedulable}. {_describe_remedy(said['name'])}",
            cause=OperatorCause.UNSCHEDULABLE,
        )
    if pod.unschedulable:
        return Wait(
            reason="Unschedulable",
            message=f"no node for pod {pod.name}: {pod.unschedulable}. Free or add nodes, or ask for less in resources",
            cause=OperatorCause.UNSCHEDULABLE,
        )
    return wait_for_scheduler(pod.name)


_CLAIM_TROUBLE = re.compile(
    r'persistentvolumeclaim "(?P<name>[^"]+)" (?:not found|is being deleted)|unbound immediate P'
)
"""What the scheduler says of volumes: more nodes would not help."""


def _describe_remedy(claim: str | None) -> str:
    if claim:
        return (
            f"Restore claim {claim} if its data is needed: the pod starts once it is there. Where Oarlock creates the claim and"
            " nothing is on it yet, it does so by itself"
        )
    return "Check that the claims of this pod can be bound: their StorageClass, access modes and size"


def wait_for_scheduler(pod: str) -> Wait:
    """Return what a pod waits for that is only just created."""
    return Wait(reason="Scheduling", message=f"pod {pod} waits for the scheduler", cause=OperatorCause.UNSCHEDULABLE)


def _find_troubled(claims: Mapping[str, ObservedClaim]) -> ObservedClaim | None:
    """Return a claim that keeps pods from a node: one that only waits for its first pod says nothing."""
    troubled = (
        claim for claim in claims.values() if claim.phase == "Lost" or (claim.phase != "Bound" and claim.message)
    )
    return next(troubled, None)


def describe_claim(claim: ObservedClaim) -> str:
    """Say what is the matter with a claim."""
    if claim.phase == "Lost":
        return f"claim {claim.name} is Lost: its volume is gone. Restore the volume, or name another claim"
    said = f": {claim.message}" if claim.message else ""
    return f"claim {claim.name} is {claim.phase}{said}. Check that its StorageClass exists and can provide the access modes"
