"""Buffers of a model, which no gradient keeps equal on all ranks: rank 0's are the truth, since they are what a checkpoint holds.

Those that training itself may read (codebooks, queues, counts of a user's model) are rank 0's after every step: each rank would
otherwise change its own by its own rows, and a run that resumes, with rank 0's from the checkpoint, would be another run. Running
statistics of norms are left alone until they are used: training never reads them, and a model that has nothing else, as all
built-in ones, pays nothing. What no checkpoint holds (buffers that are not persistent) is each rank's own and never touched: a run
that resumes makes it anew.
"""

from collections.abc import Iterator

import torch
import torch.distributed as dist
from torch import Tensor, nn

_STATISTICS = frozenset({"running_mean", "running_var", "num_batches_tracked"})

Place = tuple[nn.Module, str]
"""A buffer by its name, not by its tensor: a module may put another tensor in its place."""


class LeaderBuffers:
    """The buffers of one model that every checkpoint holds, less the statistics of norms."""

    def __init__(self, model: nn.Module, *, processes: int) -> None:
        places = find_kept_buffers(model) if processes > 1 else ()
        self._places = [(module, name) for module, name in places if name not in _STATISTICS]

    def spread(self) -> None:
        """Give every rank what rank 0 has; all ranks call it after each step."""
        for module, name in self._places:
            take_from_leader(getattr(module, name))


def find_kept_buffers(model: nn.Module) -> Iterator[Place]:
    """Yield the buffers that a checkpoint of the model holds."""
    kept = {id(value) for value in model.state_dict(keep_vars=True).values()}
    for module in model.modules():
        for name, buffer in module.named_buffers(recurse=False):
            if id(buffer) in kept:
                yield module, name


@torch.no_grad()
def take_from_leader(value: Tensor, group: dist.ProcessGroup | None = None) -> None:
    """Put rank 0's values into `value`, which has the same type and shape on all ranks; all ranks call it.

    Bytes are sent: gloo refuses some types, and takes what is not contiguous for what lies in its place.
    """
    flat = value.contiguous().reshape(-1)
    dist.broadcast(flat.view(torch.uint8), src=0, group=group)
    if flat.data_ptr() != value.data_ptr():
        value.copy_(flat.view(value.shape))
