"""Why the volumes of a pod are not there: claims that are not bound, and volumes that cannot be attached or mounted. Pure."""

import re
from collections.abc import Mapping

from oarlock_operator.policy.bounds import clip
from oarlock_operator.policy.causes import OperatorCause
from oarlock_operator.policy.containers import explain_words
from oarlock_operator.policy.wait import MAX_SAID, Wait, locate
from oarlock_operator.reconcile.observed import ObservedClaim, ObservedPod

_MISSING_CLASS = re.compile(r'storageclass(?:\.storage\.k8s\.io)? "(?P<name>[^"\s]{1,253})" not found', re.IGNORECASE)
_EXHAUSTED = re.compile(r"ResourceExhausted|quota|exceed|insufficient|no space|out of (space|capacity)", re.IGNORECASE)
_VOLUME_EVENTS = ("FailedMount", "FailedAttachVolume", "FailedMapVolume", "VolumeFailedDelete", "FailedBinding")
_MULTI_ATTACH = re.compile(r"Multi-Attach error for volume \"?(?P<volume>[^\"\s]{1,253})", re.IGNORECASE)


def explain_claims(claims: Mapping[str, ObservedClaim]) -> Wait | None:
    """Return why pods get no node for their claims: one that only waits for its first pod says nothing."""
    waits = (explain_pending_claim(claim) for claim in claims.values() if claim.phase == "Lost" or claim.message)
    return next((wait for wait in waits if wait), None)


def explain_pending_claim(claim: ObservedClaim) -> Wait | None:
    """Return what keeps a claim from being bound; None if it is bound."""
    if claim.phase == "Bound":
        return None
    reason = "ClaimPending"
    if claim.phase == "Lost":
        reason = "ClaimLost"
    elif _MISSING_CLASS.search(claim.message):
        reason = "StorageClassMissing"
    elif claim.message.startswith("ProvisioningFailed"):
        reason = "ProvisioningFailed"
    return Wait(reason=reason, message=describe_claim(claim), cause=OperatorCause.UNSCHEDULABLE)


def describe_claim(claim: ObservedClaim) -> str:
    """Say what is the matter with a claim that is not bound."""
    if claim.phase == "Lost":
        return f"claim {claim.name} is Lost: its volume is gone. Restore the volume, or name another claim"
    if missing := _MISSING_CLASS.search(claim.message):
        return (
            f"claim {claim.name} needs StorageClass {missing['name']}, which does not exist. Create it; or delete the claim and"
            " apply again with a storageClass that `kubectl get storageclass` shows"
        )
    of = f" of StorageClass {claim.storage_class}" if claim.storage_class else ""
    if not claim.message:
        return (
            f"claim {claim.name}{of} is {claim.phase}: nobody has made its volume. Check that the provisioner of its StorageClass"
            " runs, and that the cluster has a default class if it names none"
        )
    said = clip(claim.message.rstrip("."), MAX_SAID)
    if _EXHAUSTED.search(claim.message):
        return (
            f"claim {claim.name}{of} is {claim.phase}: {said}. Free or raise the quota of the storage, or ask for less"
        )
    return f"claim {claim.name}{of} is {claim.phase}: {said}. Check that its StorageClass exists and can provide the access modes"


def explain_volume(pod: ObservedPod) -> Wait | None:
    """Return why the volumes of a pod that has a node are not mounted; None if nothing is said of that."""
    if not pod.warning.startswith(_VOLUME_EVENTS):
        return None
    said = pod.warning.rstrip(".")
    if attached := _MULTI_ATTACH.search(said):
        return Wait(
            reason="VolumeInUse",
            message=f"{locate(pod)} waits for volume {attached['volume']}, which is attached to another node"
            f" ({clip(said, MAX_SAID)}). It starts once the pods that use it there are gone; a ReadWriteMany volume can be on"
            " several nodes",
        )
    if "not found" in said or "non-existent" in said:
        wait = explain_words(pod, said)
        if wait:
            return wait
    doing = "attached" if said.startswith("FailedAttachVolume") else "mounted"
    return Wait(
        reason="VolumeNotAttached" if doing == "attached" else "VolumeNotMounted",
        message=f"a volume of {locate(pod)} cannot be {doing}: {clip(said, MAX_SAID)}. Check the volume, its storage driver on"
        " the node, and the rights on the share. It is tried again by itself",
    )
