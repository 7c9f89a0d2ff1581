"""What is in a run's folder of checkpoints, and the sweep that makes room in it.

It reads manifests, never data files, and deletes only what `retention` decides.
"""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from oarlock_api.contract import CheckpointFacts
from oarlock_trainer.checkpoints.durability import delete_folder
from oarlock_trainer.checkpoints.fence import Fence
from oarlock_trainer.checkpoints.folders import CHECKPOINTS_DIR, deleting_suffix, list_complete, step_name
from oarlock_trainer.checkpoints.manifest import CorruptCheckpointError, Manifest, read_manifest
from oarlock_trainer.checkpoints.retention import StoredCheckpoint, decide_deletions, find_best, find_latest, rank


@dataclass(frozen=True, kw_only=True, slots=True)
class Catalogue:
    """The complete checkpoints of a run."""

    manifests: dict[int, Manifest]
    """By step; one that cannot be read is missing here."""
    stored: list[StoredCheckpoint]

    def find_latest(self) -> CheckpointFacts | None:
        latest = find_latest(self.stored)
        return self.facts_of(latest.step) if latest else None

    def find_best(self, *, metric_name: str) -> CheckpointFacts | None:
        best = find_best(self.stored, metric_name=metric_name)
        return self.facts_of(best.step) if best else None

    def rank(self, *, metric_name: str) -> list[CheckpointFacts]:
        """Return those that were validated, best first."""
        return [self.facts_of(stored.step) for stored in rank(self.stored, metric_name=metric_name)]

    def facts_of(self, step: int) -> CheckpointFacts:
        return self.manifests[step].to_facts(path=f"{CHECKPOINTS_DIR}/{step_name(step)}")


def read_catalogue(checkpoints: Path, *, corrupt: Collection[int], metric_name: str) -> Catalogue:
    """Read every manifest; `corrupt` are the steps that verification has found to be so."""
    manifests, stored = {}, []
    for step, folder in list_complete(checkpoints):
        try:
            manifests[step] = manifest = read_manifest(folder)
        except (CorruptCheckpointError, OSError):
            stored.append(StoredCheckpoint(step=step, corrupt=True))
            continue
        metric = manifest.metric if manifest.metric_name == metric_name else None
        stored.append(
            StoredCheckpoint(step=step, finite=manifest.finite, metric=metric, corrupt=step in corrupt),
        )
    return Catalogue(manifests=manifests, stored=stored)


def sweep(checkpoints: Path, catalogue: Catalogue, *, keep: int, metric_name: str, fence: Fence) -> list[str]:
    """Delete what need not be kept, and return a warning for each folder that could not be deleted.

    Raises:
        SupersededError: if a later attempt owns the folder; nothing has been deleted then.
    """
    doomed = decide_deletions(catalogue.stored, keep=keep, metric_name=metric_name)
    if doomed:
        fence.check()
    warnings = []
    for step in doomed:
        folder = checkpoints / step_name(step)
        try:
            delete_folder(folder, suffix=deleting_suffix(fence.attempt))
        except OSError as error:
            warnings.append(f"the old checkpoint {folder} could not be deleted: {error.strerror or error}")
    return warnings
