"""Finding the newest checkpoint that is what was written, and reading it.

Sizes and hashes are checked before a single tensor is touched: DCP loads a file with a flipped byte without a word. What is
found corrupt is skipped and named, and stays where it is for inspection.
"""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

import torch
from torch import Tensor
from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.planner import ReadItem
from torch.distributed.checkpoint.state_dict_loader import load

from oarlock_api.contract import CheckpointFacts
from oarlock_trainer.checkpoints.agreement import Agreement
from oarlock_trainer.checkpoints.differences import check_resumable, describe_code_change
from oarlock_trainer.checkpoints.entries import build_targets, restore_entries
from oarlock_trainer.checkpoints.folders import CHECKPOINTS_DIR, list_complete
from oarlock_trainer.checkpoints.manifest import CorruptCheckpointError, Manifest, read_manifest
from oarlock_trainer.checkpoints.verification import find_corruption, share_of
from oarlock_trainer.errors import StorageError
from oarlock_trainer.state import CheckpointedRun, ProgramState, TrainingState


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadedCheckpoint:
    """The checkpoint from which this attempt goes on."""

    facts: CheckpointFacts
    position: int
    extends: bool
    """The run was made longer since; the schedule follows the new length."""
    world_size: int
    """Processes that wrote it."""
    warnings: list[str] = field(default_factory=list)
    """One for each newer checkpoint that was skipped: file, expected, found; one if the user's own code has changed since."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Search:
    """How the search for a checkpoint ended."""

    manifest: Manifest | None
    folder: Path | None
    extends: bool
    corrupt: frozenset[int]
    """Steps of the checkpoints that were skipped because they are not what was written."""
    warnings: list[str]

    def to_loaded(self) -> LoadedCheckpoint | None:
        if self.manifest is None or self.folder is None:
            return None
        return LoadedCheckpoint(
            facts=self.manifest.to_facts(path=f"{CHECKPOINTS_DIR}/{self.folder.name}"),
            position=self.manifest.position,
            extends=self.extends,
            world_size=self.manifest.world_size,
            warnings=self.warnings,
        )


def find_checkpoint(
    checkpoints: Path,
    run: CheckpointedRun,
    agreement: Agreement,
    *,
    code: Mapping[str, str],
    on_chunk: Callable[[], None],
) -> Search:
    """Return the newest checkpoint that is verified and finite; every rank calls it and finds the same one.

    `code` is that of this rank, with which the run would go on: see `oarlock_trainer.own_code`.

    Raises:
        CheckpointMismatchError: if the newest intact one is of another run.
        StorageError: if there are checkpoints and all are corrupt: weeks of training are not begun again unasked.
    """
    corrupt: set[int] = set()
    skipped: list[str] = []
    for step, folder in agreement.lead(lambda: list_complete(checkpoints)):
        manifest, finding = _examine(folder, agreement, on_chunk)
        if manifest is not None and not finding and manifest.finite:
            extends = check_resumable(manifest, run)
            said = [*skipped, *describe_code_change(manifest, code)]
            return Search(manifest=manifest, folder=folder, extends=extends, corrupt=frozenset(corrupt), warnings=said)
        skipped.append(f"the checkpoint of step {step} is skipped: {finding or 'it holds values that are not finite'}")
        corrupt |= {step} if finding else set()
    if corrupt:
        raise StorageError(
            f"no checkpoint in {checkpoints} can be used: {'; '.join(skipped)}",
            remedy="restore the volume from a backup, or delete that folder to train anew from the first step",
        )
    return Search(manifest=None, folder=None, extends=False, corrupt=frozenset(), warnings=skipped)


def read_checkpoint(
    folder: Path,
    state: TrainingState | ProgramState,
    agreement: Agreement,
    *,
    device: torch.device,
    on_chunk: Callable[[], None],
) -> None:
    """Put a verified checkpoint into `state` and into the random generators of this rank; every rank calls it.

    Raises:
        CheckpointMismatchError: if the model or the optimizer is not the one that was saved.
    """
    agreement.gather(lambda: _read_and_restore(folder, state, agreement.rank, device, on_chunk))


def _examine(folder: Path, agreement: Agreement, on_chunk: Callable[[], None]) -> tuple[Manifest | None, str]:
    """Return the manifest, if it can be read, and what is wrong with the checkpoint; each rank reads a share of it."""
    manifest, finding = agreement.lead(lambda: _read_manifest(folder))
    if manifest is None or not manifest.finite:
        return manifest, finding
    share = share_of(manifest.files, rank=agreement.rank, size=agreement.size)
    findings = agreement.gather(lambda: find_corruption(folder, share, on_chunk=on_chunk))
    return manifest, next(filter(None, findings), "")


def _read_manifest(folder: Path) -> tuple[Manifest | None, str]:
    try:
        return read_manifest(folder), ""
    except (CorruptCheckpointError, OSError) as error:
        return None, str(error)


def _read_and_restore(
    folder: Path, state: TrainingState | ProgramState, rank: int, device: torch.device, on_chunk: Callable[[], None]
) -> None:
    reader = FileSystemReader(folder)
    targets = build_targets(reader.read_metadata(), state, rank=rank)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")  # each rank reads for itself
        load(targets, storage_reader=reader, planner=_CarefulPlanner(on_chunk), no_dist=True)
    restore_entries(targets, state, rank=rank, device=device)


class _CarefulPlanner(DefaultLoadPlanner):
    """Reads plain values without running code that a pickle might hold, and shows progress."""

    def __init__(self, on_chunk: Callable[[], None]) -> None:
        super().__init__(flatten_state_dict=False, flatten_sharded_tensors=False)
        self._on_chunk = on_chunk

    def load_bytes(self, read_item: ReadItem, value: BytesIO) -> None:
        self.state_dict[read_item.dest_index.fqn] = torch.load(value, weights_only=True)
        self._on_chunk()

    def commit_tensor(self, read_item: ReadItem, tensor: Tensor) -> None:
        super().commit_tensor(read_item, tensor)
        self._on_chunk()
