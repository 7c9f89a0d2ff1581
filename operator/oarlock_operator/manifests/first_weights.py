"""What pods have of the weights that their model begins with: the claim that holds them, and the path to them. Pure."""

from oarlock_api import contract
from oarlock_api.run import Run
from oarlock_operator.manifests.volumes import ClaimMount


def build_first_weights_mounts(run: Run) -> list[ClaimMount]:
    """Return the mount of another job's claim; the pods have the job's own anyway."""
    first = run.first_weights
    if first is None or first.claim is None or first.claim == run.checkpoints.claim:
        return []
    return [ClaimMount(claim=first.claim, path=contract.FIRST_WEIGHTS_MOUNT, read_only=True)]


def build_first_weights_variables(run: Run) -> dict[str, str]:
    first = run.first_weights
    if first is None:
        return {}
    if first.claim is None:
        return {contract.FIRST_WEIGHTS_ENV: first.path}
    mount = contract.RUNS_MOUNT if first.claim == run.checkpoints.claim else contract.FIRST_WEIGHTS_MOUNT
    return {contract.FIRST_WEIGHTS_ENV: f"{mount}/{first.path}"}
