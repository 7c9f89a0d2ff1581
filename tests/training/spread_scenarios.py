"""What ranks do together in tests of models that are spread over them; importable, so that forked ranks can call it."""

import os
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from oarlock_trainer.batch_norms import synchronize_batch_norms
from oarlock_trainer.distributed import Processes

ROWS_OF_RANK_0 = 5
"""Of 7: shares are uneven."""


def make_normed_model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.BatchNorm1d(16), nn.Linear(16, 1))


def make_rows() -> Tensor:
    return torch.randn(7, 2, 4, 4, generator=torch.Generator().manual_seed(1)) * 3 + 100


def learn_normed() -> dict[str, list[Any]]:
    """Do one backward pass with synchronised batch norms over this rank's rows; return gradients and buffers."""
    rank = int(os.environ["RANK"])
    dist.init_process_group("gloo")
    group = dist.group.WORLD
    assert group is not None
    processes = Processes(rank=rank, count=dist.get_world_size(), device=torch.device("cpu"), control=group)
    model = synchronize_batch_norms(make_normed_model(), processes)
    rows = make_rows()[:ROWS_OF_RANK_0] if rank == 0 else make_rows()[ROWS_OF_RANK_0:]
    results = learn(model, rows)
    for name in results:
        if name.endswith(("weight", "bias")):
            dist.all_reduce(results[name])
    dist.destroy_process_group()
    return {name: value.tolist() for name, value in results.items()}


def learn(model: nn.Module, rows: Tensor) -> dict[str, Tensor]:
    model(rows).square().sum().backward()
    gradients = {name: value.grad for name, value in model.named_parameters() if value.grad is not None}
    return {**gradients, **dict(model.named_buffers())}
