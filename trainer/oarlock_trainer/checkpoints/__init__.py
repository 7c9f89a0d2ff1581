"""Checkpoints that are complete or absent, verified before they count, and written while training goes on."""

from oarlock_trainer.checkpoints.checkpointer import Checkpointer, SaveResult
from oarlock_trainer.checkpoints.loading import LoadedCheckpoint
from oarlock_trainer.checkpoints.snapshot import Snapshot

__all__ = ["Checkpointer", "LoadedCheckpoint", "SaveResult", "Snapshot"]
