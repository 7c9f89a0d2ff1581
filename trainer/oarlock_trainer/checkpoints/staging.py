"""Copies of the state in CPU memory: what a checkpoint writes in the background while training changes the originals.

The copy is all that training waits for. The memory is kept from one save to the next (at most one is in flight), because
touching fresh pages costs more than the copy itself, and is pinned for copies from a GPU.
"""

from typing import Any

import torch
from torch import Tensor

from oarlock_trainer.checkpoints.entries import Entries


class Stage:
    """The copies of one rank."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._pinned = device.type == "cuda"
        self._buffers: dict[str, Tensor] = {}

    def take(self, entries: Entries) -> Entries:
        """Return a copy of the table that later steps do not change; the one before becomes invalid."""
        copies = {name: self._copy(name, value) for name, value in entries.items()}
        if self._pinned:
            torch.cuda.synchronize(self._device)
        self._buffers = {name: value for name, value in copies.items() if isinstance(value, Tensor)}
        return copies

    def _copy(self, name: str, value: Any) -> Any:
        if not isinstance(value, Tensor):
            return _copy_plain(value)
        source = value.detach()
        buffer = self._buffers.get(name)
        if buffer is None or buffer.shape != source.shape or buffer.dtype != source.dtype:
            buffer = torch.empty_like(source, device="cpu", pin_memory=self._pinned)
        return buffer.copy_(source, non_blocking=self._pinned)


def _copy_plain(value: Any) -> Any:
    """Copy containers and the tensors in them, which hyperparameters may be."""
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        return {key: _copy_plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_copy_plain(inner) for inner in value)
    return value
