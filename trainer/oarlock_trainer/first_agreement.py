"""That all ranks begin with the same model, although each builds its own: what is sharded is never sent from rank 0 to the others.

A function of the user's may draw from any generator, or from none that has a seed; the parts of such models would be no model.
"""

import hashlib
import random

import numpy as np
import torch
import torch.distributed as dist
from torch import nn

from oarlock_trainer.distributed import Processes
from oarlock_trainer.errors import ConfigError


def seed_all(seed: int) -> None:
    """Seed every generator that code which builds a model is likely to draw from."""
    random.seed(seed)
    np.random.seed(seed % (1 << 32))  # noqa: NPY002  # the one that code of users draws from
    torch.manual_seed(seed)


def check_agreement(model: nn.Module, processes: Processes) -> None:
    """Compare the model, whole and on the CPU, over all ranks, which all call this.

    Raises:
        ConfigError: if some rank's parameters or buffers are not those of rank 0, on every rank alike.
    """
    digests = [""] * processes.count
    dist.all_gather_object(digests, _digest(model), group=processes.control)
    others = [str(rank) for rank, digest in enumerate(digests) if digest != digests[0]]
    if others:
        raise ConfigError(
            f"recipe.parallelism: fsdp: the first weights of rank {', '.join(others)} are not those of rank 0",
            remedy="let the model's function draw from generators that it seeds itself, or from those of torch, numpy and random,"
            " which are seeded before it is called",
        )


def _digest(model: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, value in model.state_dict().items():
        digest.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
        # As bytes: numpy has no bfloat16.
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
