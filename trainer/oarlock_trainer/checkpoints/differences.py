"""Whether a run may go on from a checkpoint of another description, and if not, what the first difference is. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any

from oarlock_api.run import NOT_IN_TRAINING_HASH
from oarlock_trainer.checkpoints.manifest import Manifest
from oarlock_trainer.errors import CheckpointMismatchError
from oarlock_trainer.state import CheckpointedRun

_NAMED_FILES = 5


def describe_training(run: CheckpointedRun) -> dict[str, Any]:
    """Return what the training hash is made of, as the checkpoint keeps it."""
    # In full, with the defaults that nobody set: what is left out today may have another default tomorrow.
    wire = run.model_dump(mode="json", by_alias=True, exclude_none=True)
    keys = ("datasetVersion", "task", "sampleShape", "classCount", "trainSamples", "model", "recipe", "command", "seed")
    return {key: wire[key] for key in keys if key in wire}


def check_resumable(manifest: Manifest, run: CheckpointedRun) -> bool:
    """Return whether the run is the one that wrote the checkpoint, made longer; False if it is the same.

    Raises:
        CheckpointMismatchError: if it is another one, or was made shorter, naming the first difference and the ways on.
    """
    differences = dict(_find_differences(manifest.description, describe_training(run)))
    if manifest.training_hash != run.training_hash:
        others = {path: finding for path, finding in differences.items() if not _is_free(path)}
        hashes = {"the training hash": f"{manifest.training_hash}, now {run.training_hash}"}
        raise _mismatch(
            manifest,
            others or hashes,
            remedy="put the former value back to go on, or give the job another name to train anew",
        )
    if run.steps < manifest.steps:
        raise _mismatch(
            manifest,
            differences or {"its number of steps": f"{manifest.steps}, now {run.steps}"},
            remedy="train at least as long as before, or give the job another name to train anew",
        )
    return run.steps > manifest.steps


def describe_code_change(manifest: Manifest, code: Mapping[str, str]) -> list[str]:
    """Return a warning that names the files of the user's own that have changed since the checkpoint, or nothing.

    The code may be another one on purpose, a mistake corrected for example: the run goes on. A checkpoint without digests, of
    an earlier Oarlock or of a model that has no such code, says nothing.
    """
    before = manifest.code or {}
    kinds = {
        "is not what it was": [name for name in before if name in code and code[name] != before[name]],
        "is new": [name for name in code if name not in before],
        "is gone": [name for name in before if name not in code],
    }
    found = [f"{name} {change}" for change, names in kinds.items() for name in names]
    if not before or not found:
        return []
    more = f" and {len(found) - _NAMED_FILES} more" if len(found) > _NAMED_FILES else ""
    warning = (
        f"the code has changed since the checkpoint of step {manifest.step}: {', '.join(found[:_NAMED_FILES])}{more}; "
        "the run goes on with the code that is there now, and is not what it would have been: if this was not meant, "
        "put the code back, or give the job another name to train anew"
    )
    return [warning]


def _is_free(path: str) -> bool:
    return any(path == f"recipe.{key}" or path.startswith(f"recipe.{key}.") for key in NOT_IN_TRAINING_HASH)


def _mismatch(manifest: Manifest, differences: Mapping[str, str], *, remedy: str) -> CheckpointMismatchError:
    path, finding = next(iter(differences.items()))
    return CheckpointMismatchError(
        f"the checkpoint of step {manifest.step} is of another run: {path} was {finding}", remedy=remedy
    )


def _find_differences(before: Any, now: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for key in dict.fromkeys([*before, *now]):
            inner = f"{path}.{key}" if path else str(key)
            yield from _find_differences(before.get(key), now.get(key), inner)
    elif before != now:
        yield path, f"{_show(before)}, now {_show(now)}"


def _show(value: Any) -> str:
    return "absent" if value is None else str(value)
