"""Reads the weights alone out of a checkpoint on the volume: what an export of the best model needs."""

import warnings
from pathlib import Path

from torch import nn
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.state_dict_loader import load

_MODEL_PREFIX = "model/"
"""Under which checkpoints keep parameters and buffers."""


def read_weights(checkpoint: Path, model: nn.Module) -> None:
    """Put the parameters and buffers of the checkpoint in the folder `checkpoint` into `model`; on this rank alone.

    Raises:
        torch.distributed.checkpoint.CheckpointException: if the checkpoint is of another model.
    """
    weights = {_MODEL_PREFIX + name: value for name, value in model.state_dict().items()}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")  # on purpose: one rank reads
        load(weights, storage_reader=FileSystemReader(checkpoint), no_dist=True)
    model.load_state_dict({name.removeprefix(_MODEL_PREFIX): value for name, value in weights.items()})
