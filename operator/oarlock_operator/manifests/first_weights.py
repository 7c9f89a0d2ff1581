"""What pods have of the weights that their model begins with: the claim that holds them, and the path to them. Pure."""

from oarlock_api import contract
from oarlock_api.run import Run
from oarlock_operator.manifests.volumes import ClaimMount


def find_earlier_claim(run: Run) -> str | None:
    """Return the claim of another job that holds the first weights; None: the pods have the job's own anyway."""
    first = run.first_weights
    return first.claim if first and first.claim != run.checkpoints.claim else None


def build_first_weights_mounts(run: Run) -> list[ClaimMount]:
    """Return the mount of another job's claim, if it holds the first weights."""
    claim = find_earlier_claim(run)
    return [ClaimMount(claim=claim, path=contract.FIRST_WEIGHTS_MOUNT, read_only=True)] if claim else []


def build_first_weights_variables(run: Run) -> dict[str, str]:
    """Return where the first weights are, whether or not they are mounted: a trainer that needs them says what is not there."""
    first = run.first_weights
    if first is None:
        return {}
    if first.claim is None:
        return {contract.FIRST_WEIGHTS_ENV: first.path}
    mount = contract.RUNS_MOUNT if first.claim == run.checkpoints.claim else contract.FIRST_WEIGHTS_MOUNT
    return {contract.FIRST_WEIGHTS_ENV: f"{mount}/{first.path}"}
