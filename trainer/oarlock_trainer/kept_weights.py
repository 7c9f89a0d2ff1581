"""The weights that another run left on a volume: its exported model, or the best checkpoint that is what was written.

Reads that run's folder and nothing else, and writes nothing: the run may still be on its way.
"""

import hashlib
import json
import warnings
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from torch.distributed.checkpoint.state_dict_loader import load

from oarlock_api.v1alpha1.training_job import KeptCheckpoint
from oarlock_trainer.checkpoints.catalogue import read_catalogue
from oarlock_trainer.checkpoints.folders import CHECKPOINTS_DIR, step_name
from oarlock_trainer.checkpoints.manifest import read_manifest
from oarlock_trainer.checkpoints.verification import find_damage
from oarlock_trainer.errors import ConfigError, DataMissingError
from oarlock_trainer.export import DESCRIPTION_NAME, EXPORT_DIR, WEIGHTS_NAME

_MODEL_PREFIX, _AVERAGE_PREFIX = "model/", "average/"


def read_kept_weights(
    run_dir: Path, *, checkpoint: KeptCheckpoint = KeptCheckpoint.BEST, step: int | None = None
) -> tuple[dict[str, Tensor], str]:
    """Return parameters and buffers by name, on the CPU, and what they are called in messages.

    Args:
        run_dir: folder of the run.
        checkpoint: which of those that it has left.
        step: the very step after which they were saved; then `checkpoint` says nothing.

    Raises:
        ConfigError: if it has left none of that step.
        DataMissingError: if the run has left no intact weights.
    """
    checkpoints = run_dir / CHECKPOINTS_DIR
    exported = _read_exported(run_dir / EXPORT_DIR) if checkpoint is KeptCheckpoint.BEST and step is None else None
    if exported is not None:
        return exported
    damages: list[str] = []
    for found, folder in _rank(checkpoints, checkpoint) if step is None else _find(checkpoints, step):
        damage = find_damage(folder)
        if not damage:
            return _read_checkpoint(folder), f"the checkpoint of step {found}"
        damages.append(damage)
    raise DataMissingError(
        f"{run_dir} holds no weights that are what was written: "
        f"{'; '.join(damages) or 'neither an exported model nor a checkpoint'}",
        remedy="let the other job train until it has a checkpoint, or take model.initFrom out",
    )


def _read_exported(folder: Path) -> tuple[dict[str, Tensor], str] | None:
    try:
        description: dict[str, Any] = json.loads((folder / DESCRIPTION_NAME).read_text(encoding="utf-8"))
        with (folder / WEIGHTS_NAME).open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, ValueError):
        return None  # not exported yet, or just being exported: its checkpoints are there
    if digest != description["weights"]["sha256"]:
        return None
    exported = description["exported"]
    return load_file(folder / WEIGHTS_NAME), f"the {exported['checkpoint']} model (step {exported['step']})"


def _find(checkpoints: Path, step: int) -> list[tuple[int, Path]]:
    """Return the checkpoint of a step, alone; whether it is intact is not said."""
    known = dict(_rank(checkpoints, KeptCheckpoint.LATEST))
    if step not in known:
        there = f"there are those of {', '.join(map(str, sorted(known)))}" if known else "it has none"
        raise ConfigError(
            f"model.initFrom.step must be a step of which the other job has kept finite weights, got {step}: {there}",
            remedy="name one of these; checkpoints.keep and keepBest of that job decide which ones stay",
        )
    return [(step, known[step])]


def _rank(checkpoints: Path, wanted: KeptCheckpoint) -> list[tuple[int, Path]]:
    """Return the finite checkpoints: of the best the validated ones, best first; then the others, latest first."""
    catalogue = read_catalogue(checkpoints, corrupt=(), metric_name="")
    if not catalogue.manifests:
        return []
    metric = catalogue.manifests[max(catalogue.manifests)].metric_name
    catalogue = read_catalogue(checkpoints, corrupt=(), metric_name=metric)
    ranked = [facts.step for facts in catalogue.rank(metric_name=metric)] if wanted is KeptCheckpoint.BEST else []
    finite = sorted((step for step, manifest in catalogue.manifests.items() if manifest.finite), reverse=True)
    steps = dict.fromkeys((*ranked, *finite))
    return [(step, checkpoints / step_name(step)) for step in steps]


def _read_checkpoint(folder: Path) -> dict[str, Tensor]:
    """Return the weights of a checkpoint: their averages, where the run was judged by these."""
    reader = FileSystemReader(folder)
    stored = reader.read_metadata().state_dict_metadata
    recipe = read_manifest(folder).description.get("recipe", {})
    averaged = recipe.get("validation", {}).get("weights") == "ema"
    prefixes = (_MODEL_PREFIX, *((_AVERAGE_PREFIX,) if averaged else ()))
    entries = {
        name: torch.empty(facts.size, dtype=facts.properties.dtype)
        for name, facts in stored.items()
        if isinstance(facts, TensorStorageMetadata) and name.startswith(prefixes)
    }
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")  # on purpose: each rank reads alone
        load(entries, storage_reader=reader, no_dist=True)
    return {
        name.removeprefix(prefix): value
        for prefix in prefixes
        for name, value in entries.items()
        if name.startswith(prefix)
    }
