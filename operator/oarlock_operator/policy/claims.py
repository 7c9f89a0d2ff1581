"""Whether a claim may be used: an earlier object of the same name may have left it, a stranger's is never taken. Pure."""

from oarlock_operator.policy.waiting import Wait, describe_claim
from oarlock_operator.reconcile.observed import ObservedClaim


def explain_claim(claim: ObservedClaim, *, label: str, owner: str) -> Wait | None:
    """Return why a claim of a derived name cannot be used; None if it can.

    Args:
        claim: the claim of that name.
        label: key of the label that claims of this kind carry.
        owner: name of the Dataset or TrainingJob, which the label must hold.
    """
    if claim.labels.get(label) != owner:
        return Wait(
            reason="NameTaken",
            message=f"claim {claim.name} exists and is not of {owner}: name it as an existing claim, rename it, or label it"
            f" {label}={owner}",
        )
    if claim.deleting:
        return Wait(
            reason="ClaimTerminating",
            message=f"claim {claim.name} is being deleted: waiting until it is gone, to create it anew. If it stays, look for"
            " pods that still use it",
        )
    return Wait(reason="ClaimLost", message=describe_claim(claim)) if claim.phase == "Lost" else None
