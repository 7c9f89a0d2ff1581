"""Writing one checkpoint so that it is complete or absent.

Every rank calls `write_checkpoint` with its own part, in the background, while training goes on. The order is what makes it
safe: data files, each hashed on its way, made durable and read back; then the manifest; then the fence; then one rename, which
is the moment at which the checkpoint exists. A kill at any point leaves a `.partial` folder, which nobody reads.
"""

import contextlib
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.default_planner import DefaultSavePlanner
from torch.distributed.checkpoint.filesystem import FileSystemWriter
from torch.distributed.checkpoint.state_dict_saver import save

from oarlock_trainer.checkpoints.agreement import Agreement
from oarlock_trainer.checkpoints.differences import describe_training
from oarlock_trainer.checkpoints.durability import (
    delete_folder,
    format_bytes,
    free_bytes,
    hash_file,
    sync_folder,
    write_durably,
)
from oarlock_trainer.checkpoints.entries import Entries, is_finite
from oarlock_trainer.checkpoints.fence import Fence
from oarlock_trainer.checkpoints.folders import CHECKPOINTS_DIR, deleting_suffix, partial_name, replaced_name, step_name
from oarlock_trainer.checkpoints.hashing import HashingFileSystem
from oarlock_trainer.checkpoints.manifest import (
    MANIFEST_NAME,
    CorruptCheckpointError,
    FileFacts,
    Manifest,
    encode_manifest,
    read_manifest,
)
from oarlock_trainer.checkpoints.verification import find_corruption
from oarlock_trainer.errors import CollectiveError, StorageError, TrainerError
from oarlock_trainer.state import CheckpointedRun


@dataclass(frozen=True, kw_only=True, slots=True)
class RunVolume:
    """The run's folder on the volume, and by what right this process writes there."""

    run_dir: Path
    run: CheckpointedRun
    fence: Fence

    @property
    def checkpoints(self) -> Path:
        return self.run_dir / CHECKPOINTS_DIR


@dataclass(frozen=True, kw_only=True, slots=True)
class SaveRequest:
    """What to write: one rank's staged part, and the facts that all ranks share."""

    entries: Entries
    model: nn.Module
    """Only for the names of its parameters."""
    needed_bytes: int
    """Size of the whole checkpoint, all ranks together, as an estimate from below."""
    step: int
    position: int
    epoch: float
    metric: float | None
    finite: bool
    code: Mapping[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Part:
    """What one rank wrote and read back."""

    files: list[FileFacts]
    finite: bool


def write_checkpoint(
    request: SaveRequest, volume: RunVolume, agreement: Agreement, *, on_chunk: Callable[[], None]
) -> Manifest:
    """Write, verify and publish a checkpoint; every rank calls it and gets the same answer.

    Args:
        request: This rank's part.
        volume: Where to.
        agreement: Of all ranks; nobody else may be using it.
        on_chunk: Called after each chunk of a few megabytes written or read back.

    Raises:
        StorageError: if the volume is full, fails, or does not return what was written; nothing is left of the checkpoint.
        SupersededError: if a later attempt owns the folder; likewise.
        CollectiveError: if another rank is gone.
    """
    partial = volume.checkpoints / partial_name(request.step, attempt=volume.fence.attempt)
    try:
        agreement.lead(lambda: _prepare(partial, request, volume))
        files = HashingFileSystem(on_chunk)
        _write_entries(request, partial, files, agreement)
        parts = agreement.gather(lambda: _verify(request, files, partial))
        manifest = _build_manifest(request, parts, volume)
        return agreement.lead(lambda: _commit(manifest, partial, volume))
    except CollectiveError:
        raise
    except TrainerError as error:
        failure = error
    agreement.lead(lambda: _abandon(partial, volume.fence))
    raise failure


def _prepare(partial: Path, request: SaveRequest, volume: RunVolume) -> None:
    if partial.exists():
        shutil.rmtree(partial)
    partial.parent.mkdir(parents=True, exist_ok=True)
    free = free_bytes(partial.parent)
    if free < request.needed_bytes:
        raise _full(request, partial.parent, volume.run, free=free)
    partial.mkdir()


def _write_entries(request: SaveRequest, partial: Path, files: HashingFileSystem, agreement: Agreement) -> None:
    writer = FileSystemWriter(partial, sync_files=False, per_thread_copy_ahead=0, overwrite=False)
    writer.fs = files
    planner = DefaultSavePlanner(flatten_state_dict=False, flatten_sharded_tensors=False)
    try:
        save(request.entries, storage_writer=writer, planner=planner, process_group=agreement.group)
    except CheckpointException as error:
        raise _translate(error, request, partial) from None
    except RuntimeError as error:
        raise CollectiveError(
            f"writing a checkpoint together failed: {error}", remedy="see the rank that ended first; training resumes"
        ) from error


def _translate(failure: CheckpointException, request: SaveRequest, partial: Path) -> Exception:
    """Return the error of the first rank that failed, which every rank was told."""
    _, (error, _) = min(failure.failures.items())
    if isinstance(error, OSError):
        return StorageError.from_os_error(error, doing=f"writing the checkpoint of step {request.step}", path=partial)
    return RuntimeError(f"writing the checkpoint of step {request.step} failed: {failure}")


def _verify(request: SaveRequest, files: HashingFileSystem, partial: Path) -> _Part:
    return _Part(files=files.verify(partial), finite=is_finite(request.entries, model=request.model))


def _build_manifest(request: SaveRequest, parts: list[_Part], volume: RunVolume) -> Manifest:
    run = volume.run
    return Manifest(
        job_uid=volume.fence.job_uid,
        attempt=volume.fence.attempt,
        training_hash=run.training_hash,
        description=describe_training(run),
        step=request.step,
        steps=run.steps,
        position=request.position,
        epoch=request.epoch,
        metric_name=str(run.keep_best.metric),
        metric=request.metric,
        finite=request.finite and all(part.finite for part in parts),
        world_size=len(parts),
        time=time.time(),
        code=dict(request.code) or None,
        files=sorted((file for part in parts for file in part.files), key=lambda file: file.name),
    )


def _commit(manifest: Manifest, partial: Path, volume: RunVolume) -> Manifest:
    """Write the manifest and give the folder its final name; return the manifest that now stands there."""
    content = encode_manifest(manifest)
    write_durably(partial / MANIFEST_NAME, content)
    hash_file(partial / MANIFEST_NAME)
    if read_manifest(partial) != manifest:
        raise StorageError(f"{partial / MANIFEST_NAME} reads back changed", remedy="check the volume's health")
    final = partial.with_name(step_name(manifest.step))
    volume.fence.check()
    standing = _find_standing(final, manifest)
    if standing is not None and manifest.metric in (None, standing.metric):
        shutil.rmtree(partial)
        return standing
    if standing is not None:
        _replace(final, partial, aside=final.with_name(replaced_name(manifest.step, attempt=volume.fence.attempt)))
        return manifest
    if final.exists():
        delete_folder(final, suffix=deleting_suffix(volume.fence.attempt))
    partial.rename(final)
    sync_folder(final.parent)
    return manifest


def _find_standing(final: Path, manifest: Manifest) -> Manifest | None:
    """Return the intact checkpoint of this step that stands there already, if there is one.

    A step is written twice when training resumed from before it, because what stands there was found corrupt, when an
    earlier attempt finished its last write late, or when a run was stopped before this step was validated: the checkpoint
    then lacks the metric. What is intact is never deleted before another stands in its place: it may be the only one.
    """
    if not final.exists():
        return None
    try:
        standing = read_manifest(final)
        is_equal = standing.training_hash == manifest.training_hash and standing.finite == manifest.finite
        if is_equal and not find_corruption(final, standing.files):
            return standing
    except (CorruptCheckpointError, OSError):
        pass  # it is not intact
    return None


def _replace(final: Path, partial: Path, *, aside: Path) -> None:
    """Put a complete checkpoint in the place of an intact one; after a crash in between, the next attempt restores that."""
    if aside.exists():
        shutil.rmtree(aside)  # its place is taken: what stands there replaced it
    final.rename(aside)
    try:
        partial.rename(final)
    except OSError:
        aside.rename(final)
        raise
    sync_folder(final.parent)
    shutil.rmtree(aside)


def _abandon(partial: Path, fence: Fence) -> None:
    """Remove what a failed save has left; what cannot be removed now goes when the next attempt starts.

    Raises:
        SupersededError: if a later attempt has begun: it clears what this one was writing, which is no fault of the volume.
    """
    shutil.rmtree(partial, ignore_errors=True)
    with contextlib.suppress(OSError):
        fence.check()


def _full(request: SaveRequest, folder: Path, run: CheckpointedRun, *, free: int) -> StorageError:
    at_once = run.keep + 2
    return StorageError(
        f"the volume of {folder} is too full for the checkpoint of step {request.step}: "
        f"{format_bytes(request.needed_bytes)} needed, {format_bytes(free)} free",
        remedy=f"enlarge the volume: it must hold {at_once} checkpoints, {format_bytes(at_once * request.needed_bytes)}",
        full=True,
    )
