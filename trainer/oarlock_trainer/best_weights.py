"""Chooses the weights to export, the best that are what was written, and reads them alone out of their checkpoint.

A flipped byte in a data file loads without a word, so the checkpoint's hashes are compared first; one that is damaged is named
in a warning, and the next best takes its place.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import nn
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.state_dict_loader import load

from oarlock_api.contract import CheckpointFacts
from oarlock_trainer.checkpoints import Checkpointer
from oarlock_trainer.checkpoints.verification import find_damage
from oarlock_trainer.export import Origin

_MODEL_PREFIX, _AVERAGE_PREFIX = "model/", "average/"
"""Under which checkpoints keep parameters and buffers, and their averages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Which weights to export."""

    checkpoint: CheckpointFacts | None
    """The best intact one, or None if there is none: then the weights in memory are exported."""
    origin: Origin
    warnings: list[str]
    """Why these are not the best weights that the run has seen."""


def choose_weights(
    run_dir: Path,
    checkpointer: Checkpointer,
    *,
    by: str,
    best_metric: float | None,
    step: int,
    epoch: float,
    on_chunk: Callable[[], None],
) -> Choice:
    """Return the best checkpoint whose files are what was written; on this rank alone.

    Args:
        run_dir: The job's folder.
        checkpointer: Knows the validated checkpoints.
        by: Name of the metric that ranks them.
        best_metric: Its best value in the whole run, None if nothing was validated.
        step: Steps done. The weights of this step are in memory; their checkpoint need not be read.
        epoch: Epochs done.
        on_chunk: Called after each chunk of a few megabytes read.
    """
    findings: list[str] = []
    for candidate in _rank(checkpointer):
        damage = "" if candidate.step == step else find_damage(run_dir / candidate.path, on_chunk=on_chunk)
        if not damage:
            is_best = not findings and candidate.metric == best_metric
            name = "best" if is_best else "next best"
            origin = Origin(checkpoint=name, step=candidate.step, epoch=candidate.epoch, metric=candidate.metric)
            return Choice(checkpoint=candidate, origin=origin, warnings=_warn(findings, origin, by, best_metric))
        findings.append(f"the checkpoint of step {candidate.step} ({by} {candidate.metric}) is damaged: {damage}")
    origin = Origin(checkpoint="last", step=step, epoch=epoch, metric=None)
    return Choice(checkpoint=None, origin=origin, warnings=_warn(findings, origin, by, best_metric))


def _rank(checkpointer: Checkpointer) -> list[CheckpointFacts]:
    """Return the validated checkpoints, best first; the one known as the best even if its manifest can be read no more."""
    ranked, best = checkpointer.rank(), checkpointer.best
    return ranked if best is None or best.metric is None or best in ranked else [best, *ranked]


def _warn(findings: list[str], origin: Origin, by: str, best_metric: float | None) -> list[str]:
    """Return one warning for each damaged checkpoint, or one if the best is missing altogether."""
    if not findings and origin.metric != best_metric:
        findings = [
            f"no checkpoint on the volume has the best {by} of this run, {best_metric}: it was lost or not saved"
        ]
    return [f"{finding}; the {origin} is exported instead" for finding in findings]


def read_weights(checkpoint: Path, model: nn.Module, *, averaged: bool = False) -> None:
    """Put parameters and buffers, or their averages, of the checkpoint in the folder `checkpoint` into `model`; on this rank alone.

    Raises:
        torch.distributed.checkpoint.CheckpointException: if the checkpoint is of another model.
    """
    prefix = _AVERAGE_PREFIX if averaged else _MODEL_PREFIX
    weights = {prefix + name: value for name, value in model.state_dict().items()}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")  # on purpose: one rank reads
        load(weights, storage_reader=FileSystemReader(checkpoint), no_dist=True)
    model.load_state_dict({name.removeprefix(prefix): value for name, value in weights.items()})
