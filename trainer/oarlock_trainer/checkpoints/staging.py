"""Copies of the state in CPU memory: what a checkpoint writes in the background while training changes the originals.

The copy is all that training waits for. The memory is kept from one save to the next (at most one is in flight), because
touching fresh pages costs more than the copy itself, and is pinned for copies from a GPU.
"""

from typing import Any

import torch
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.tensor import DTensor

from oarlock_trainer.checkpoints.entries import Entries
from oarlock_trainer.sharding import own_part


class Stage:
    """The copies of one rank."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._pinned = device.type == "cuda"
        self._buffers: dict[str, Tensor] = {}
        self._mesh: DeviceMesh | None = None

    def take(self, entries: Entries) -> Entries:
        """Return a copy of the table that later steps do not change; the one before becomes invalid."""
        copies = {name: self._copy(name, value) for name, value in entries.items()}
        if self._pinned:
            torch.cuda.synchronize(self._device)
        self._buffers = {name: own_part(value) for name, value in copies.items() if isinstance(value, Tensor)}
        return copies

    def _copy(self, name: str, value: Any) -> Any:
        if not isinstance(value, Tensor):
            return _copy_plain(value)
        if isinstance(value, DTensor):
            return self._copy_part(name, value)
        return self._copy_tensor(name, value.detach())

    def _copy_part(self, name: str, value: DTensor) -> DTensor:
        """Copy what this rank holds of a sharded tensor; the copy says where it belongs in the whole."""
        if self._mesh is None:
            self._mesh = init_device_mesh("cpu", tuple(value.device_mesh.shape))
        part = self._copy_tensor(name, value.to_local().detach())
        return DTensor.from_local(
            part, self._mesh, value.placements, run_check=False, shape=value.shape, stride=value.stride()
        )

    def _copy_tensor(self, name: str, source: Tensor) -> Tensor:
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
