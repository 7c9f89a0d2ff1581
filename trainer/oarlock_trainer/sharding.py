"""FSDP: each process keeps a part of every parameter, of its gradient and of its moments, and gathers a block when it needs it.

Names stay those of the model, so a checkpoint fits any number of processes, and a run that is not sharded. What it must not
do: anything for a single process, which holds everything anyway.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.modules.batchnorm import _BatchNorm

from oarlock_trainer.blocks import count_parameters, find_blocks
from oarlock_trainer.distributed import Processes

_LARGE_LAYER = 1 << 20
"""Parameters from which on a layer outside the blocks is gathered by itself."""


def shard_model(model: nn.Module, processes: Processes, *, precision: torch.dtype) -> None:
    """Spread the parameters of `model` over all processes, in place, and move it to the device.

    Everything is given up again after its use, the parameters outside the blocks too: whoever looks at the parameters between
    two steps sees the parts. Gradients are averaged over the processes in float32, after each micro-batch: to keep whole ones
    would cost the memory that sharding saves.
    """
    mesh = init_device_mesh(processes.device.type, (processes.count,))
    policy = _choose_policy(model, precision)
    for part in _list_parts(model):
        fully_shard(part, mesh=mesh, mp_policy=policy, reshard_after_forward=True)


def _list_parts(model: nn.Module) -> list[nn.Module]:
    """Return what is gathered at once: blocks, large layers outside them, and the model for all that is left."""
    blocks = find_blocks(model)
    inside = {module for block in blocks for module in block.modules()}
    layers = [
        module
        for module in model.modules()
        if module not in inside and not any(module.children()) and count_parameters(module) >= _LARGE_LAYER
    ]
    shared = _find_shared(model)
    parts = [part for part in (*blocks, *layers) if not shared.intersection(part.parameters())]
    return [*(part for part in parts if part is not model), model]


def _find_shared(model: nn.Module) -> set[nn.Parameter]:
    """Return the parameters that several modules use: only the part that holds all of these may gather them."""
    seen: set[nn.Parameter] = set()
    shared: set[nn.Parameter] = set()
    for module in model.modules():
        own = set(module.parameters(recurse=False))
        shared |= seen & own
        seen |= own
    return shared


def _choose_policy(model: nn.Module, precision: torch.dtype) -> MixedPrecisionPolicy:
    """Gather in bf16 if the run computes in it, at half the cost; batch norms want float32, as autocast gives them."""
    halves = precision is torch.bfloat16 and not any(isinstance(module, _BatchNorm) for module in model.modules())
    return MixedPrecisionPolicy(param_dtype=torch.bfloat16 if halves else None, reduce_dtype=torch.float32)


def is_sharded(model: nn.Module) -> bool:
    """Say whether some parameter is spread over the processes."""
    return any(isinstance(parameter, DTensor) for parameter in model.parameters())


def make_whole(value: Tensor) -> Tensor:
    """Return a tensor whole; if it is spread, every process must ask, at the same place."""
    return value.full_tensor() if isinstance(value, DTensor) else value


def own_part(value: Tensor) -> Tensor:
    """Return what this process holds of a tensor, in the same memory: all of it, unless it is spread."""
    return value.to_local() if isinstance(value, DTensor) else value


def gather_model(model: nn.Module, processes: Processes, *, build: Callable[[], nn.Module]) -> nn.Module | None:
    """Return a model that one process can use: `model` itself if it is not spread; else on rank 0 a copy on the CPU.

    Every rank calls it; the others get None, and never hold more than one tensor whole.

    Args:
        model: Of the learner.
        processes: All of them.
        build: Returns a model of the same form, on the CPU.
    """
    if not is_sharded(model):
        return model
    weights: dict[str, Tensor] = {}
    for name, value in model.state_dict().items():
        whole = make_whole(value.detach())
        if processes.leads:
            weights[name] = whole.cpu()
    if not processes.leads:
        return None
    copy = build()
    copy.load_state_dict(weights)
    return copy
