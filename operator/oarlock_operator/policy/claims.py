"""Whether a claim may be used: an earlier object of the same name may have left it, a stranger's is never taken. Pure."""

from oarlock_operator.manifests.metadata import Owner
from oarlock_operator.policy.volumes import describe_claim
from oarlock_operator.policy.wait import Wait
from oarlock_operator.reconcile.observed import ObservedClaim


def is_leaving(claim: ObservedClaim, *, owner: Owner) -> bool:
    """Say whether a claim is deleted, or is going to be: the garbage collector takes it with another object that owns it."""
    return claim.deleting or claim.owner_uid not in ("", owner.uid)


def explain_claim(claim: ObservedClaim, *, label: str, owner: Owner) -> Wait | None:
    """Return why a claim of a derived name cannot be used; None if it can.

    Args:
        claim: the claim of that name.
        label: key of the label that claims of this kind carry.
        owner: the Dataset or TrainingJob, whose name the label must hold.
    """
    if claim.labels.get(label) != owner.name:
        return Wait(
            reason="NameTaken",
            message=f"claim {claim.name} exists and is not of {owner.name}: name it as an existing claim, rename it, or label"
            f" it {label}={owner.name}",
        )
    if claim.deleting:
        return Wait(
            reason="ClaimTerminating",
            message=f"claim {claim.name} is being deleted: waiting until it is gone, to create it anew. If it stays, look for"
            " pods that still use it",
        )
    if is_leaving(claim, owner=owner):
        return Wait(
            reason="ClaimTerminating",
            message=f"claim {claim.name} belongs to an object with UID {claim.owner_uid}, as an earlier {owner.kind}"
            f" {owner.name}, and goes with it: waiting until it is gone, to create it anew. To keep what is on it, remove its"
            " ownerReferences",
        )
    return Wait(reason="ClaimLost", message=describe_claim(claim)) if claim.phase == "Lost" else None


def explain_weights_claim(claim: ObservedClaim | None, *, name: str, job: str) -> Wait | None:
    """Return why the claim that holds the first weights of a model cannot be mounted; None if it can.

    Args:
        claim: the claim, if it is there.
        name: its name.
        job: the earlier job that left the weights on it.
    """
    what = f"claim {name} with the weights of TrainingJob {job}, with which this one begins,"
    otherwise = "or apply this job anew with another model.initFrom"
    if claim is None:
        return Wait(reason="InitJobClaimMissing", message=f"{what} is not there. Restore it, {otherwise}")
    if claim.deleting:
        return Wait(
            reason="InitJobClaimTerminating",
            message=f"{what} is being deleted. Restore it under its name once it is gone, {otherwise}",
        )
    if claim.phase == "Lost":
        return Wait(
            reason="InitJobClaimLost",
            message=f"{what} is Lost: its volume is gone. Restore the volume, {otherwise}",
        )
    return None
