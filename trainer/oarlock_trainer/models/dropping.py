"""The share of values that a model's dropout layers leave out, as a recipe has it instead of the model."""

from torch import nn
from torch.nn.modules.dropout import _DropoutNd

from oarlock_trainer.errors import ConfigError

_WITHIN = (nn.MultiheadAttention, nn.RNNBase)
"""Layers that have their dropout as a number of their own."""


def set_dropout(model: nn.Module, share: float) -> None:
    """Let all dropout layers of a model leave out `share` of their inputs.

    Raises:
        ConfigError: if there is none.
    """
    found = 0
    for module in model.modules():
        if isinstance(module, _DropoutNd):
            module.p, found = share, found + 1
        elif isinstance(module, _WITHIN) and module.dropout:
            module.dropout, found = share, found + 1
    if not found:
        raise ConfigError(
            f"recipe.dropout is {share:g}, and the model has no dropout layer",
            remedy="leave recipe.dropout out, or choose a model with dropout",
        )
