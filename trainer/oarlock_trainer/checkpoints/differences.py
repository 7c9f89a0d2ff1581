"""Whether a run may go on from a checkpoint of another description, and if not, what the first difference is. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any

from oarlock_api.run import WorkerRun
from oarlock_trainer.checkpoints.manifest import Manifest
from oarlock_trainer.errors import CheckpointMismatchError

_LENGTHS = frozenset({"recipe.epochs", "recipe.maxSteps"})
"""How long to train: a run may be made longer."""


def describe_training(run: WorkerRun) -> dict[str, Any]:
    """Return what the training hash is made of, as the checkpoint keeps it."""
    wire = run.to_wire()
    keys = ("datasetVersion", "task", "sampleShape", "classCount", "trainSamples", "model", "recipe")
    return {key: wire[key] for key in keys if key in wire}


def check_resumable(manifest: Manifest, run: WorkerRun) -> bool:
    """Return whether the run extends the one that wrote the checkpoint; False if it is the same run.

    Raises:
        CheckpointMismatchError: if it is another one, naming the first difference and the ways on.
    """
    if manifest.training_hash == run.training_hash:
        return False
    differences = dict(_find_differences(manifest.description, describe_training(run)))
    others = {path: finding for path, finding in differences.items() if path not in _LENGTHS}
    if differences and not others and run.steps > manifest.steps:
        return True
    raise CheckpointMismatchError(
        f"the checkpoint of step {manifest.step} is of another run: {_first(others or differences, manifest, run)}",
        remedy=_remedy(others),
    )


def _first(differences: Mapping[str, str], manifest: Manifest, run: WorkerRun) -> str:
    for path, finding in differences.items():
        return f"{path} was {finding}"
    return f"the training hash was {manifest.training_hash}, now {run.training_hash}"


def _remedy(others: Mapping[str, str]) -> str:
    if not others:
        return "train at least as long as before, or give the job another name to train anew"
    return "put the former value back to go on, or give the job another name to train anew"


def _find_differences(before: Any, now: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for key in dict.fromkeys([*before, *now]):
            inner = f"{path}.{key}" if path else str(key)
            yield from _find_differences(before.get(key), now.get(key), inner)
    elif before != now:
        yield path, f"{_show(before)}, now {_show(now)}"


def _show(value: Any) -> str:
    return "absent" if value is None else str(value)
