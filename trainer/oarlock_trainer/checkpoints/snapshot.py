"""The state of one rank, kept in memory for a while: to try things out and be as if nothing had happened. No I/O."""

import torch

from oarlock_trainer.checkpoints.entries import collect_entries, restore_entries
from oarlock_trainer.checkpoints.rng import capture_rng
from oarlock_trainer.checkpoints.staging import Stage
from oarlock_trainer.state import TrainingState


class Snapshot:
    """All that a checkpoint holds, in CPU memory; of a model that is whole on every rank."""

    def __init__(self, state: TrainingState, *, rank: int, device: torch.device) -> None:
        self._rank, self._device = rank, device
        self._entries = Stage(device).take(collect_entries(state, rng=capture_rng(device), rank=rank))

    def restore(self, state: TrainingState) -> None:
        """Put it back, the random states included; once, since the optimizer may go on working on it."""
        restore_entries(self._entries, state, rank=self._rank, device=self._device)
