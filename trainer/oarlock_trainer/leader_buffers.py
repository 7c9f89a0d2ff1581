"""Buffers that training itself may read: codebooks, queues, counts of a user's model. They are rank 0's after every step.

Each rank would otherwise change its own by its own rows, and a run that resumes, with rank 0's from the checkpoint, would be another
run. Running statistics of norms are left alone: training never reads them, so they are spread only before they are used. A model
that has nothing else, as all built-in ones, pays nothing.
"""

import torch
import torch.distributed as dist
from torch import nn

_STATISTICS = frozenset({"running_mean", "running_var", "num_batches_tracked"})


class LeaderBuffers:
    """The buffers of one model that every checkpoint holds, less the statistics of norms."""

    def __init__(self, model: nn.Module, *, processes: int) -> None:
        kept = {id(value) for value in model.state_dict(keep_vars=True).values()}
        self._places = [
            (module, name)
            for module in model.modules()
            for name, buffer in module.named_buffers(recurse=False)
            if processes > 1 and id(buffer) in kept and name not in _STATISTICS
        ]

    @torch.no_grad()
    def spread(self) -> None:
        """Give every rank what rank 0 has; all ranks call it after each step."""
        # By name, not by tensor: a module may put another tensor in a buffer's place.
        for module, name in self._places:
            dist.broadcast(getattr(module, name), src=0)
