"""Optimizers: built from the resolved recipe, fused into one kernel where torch can.

Defaults are the API's (`oarlock_api.optimizers`), and which parameter belongs to which group is `parameter_groups`' to say.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn
from torch.distributed.tensor import DTensor
from torch.optim import SGD, Adadelta, Adagrad, Adam, Adamax, AdamW, NAdam, RMSprop
from torch.optim import Optimizer as TorchOptimizer

from oarlock_api.optimizers import resolve_optimizer
from oarlock_api.v1alpha1.recipe import Optimizer, OptimizerName, ParameterGroup
from oarlock_trainer.muon import MuonWithAdamW, find_hidden_matrices
from oarlock_trainer.parameter_groups import TorchGroup, group_parameters

_FUSED_DEVICES = frozenset({"cpu", "cuda"})


def highest_learning_rate(recipe: Optimizer) -> float:
    """Return the learning rate at its highest."""
    return resolve_optimizer(recipe).learning_rate or 0.0


def build_optimizer(
    recipe: Optimizer, model: nn.Module, *, device_type: str, groups: Sequence[ParameterGroup] = ()
) -> TorchOptimizer:
    """Return the optimizer over all parameters of `model` that are not frozen; it is on its device already.

    Raises:
        ConfigError: if a group matches nothing, or this version of torch lacks the optimizer.
    """
    resolved = resolve_optimizer(recipe)
    torch_groups = group_parameters(model, resolved, groups)
    fused = device_type in _FUSED_DEVICES
    if resolved.name is OptimizerName.MUON:
        muon = {"momentum": resolved.momentum, "nesterov": resolved.nesterov}
        adamw = {**_adam_settings(resolved), "fused": fused}
        return MuonWithAdamW(torch_groups, find_hidden_matrices(model), muon=muon, adamw=adamw)
    return _BUILDERS[resolved.name](resolved, torch_groups, fused)


def set_learning_rate(optimizer: TorchOptimizer, rate: float) -> None:
    """Set the recipe's learning rate of the coming step; each group gets its share."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("rate_share", 1.0)


@torch.no_grad()
def add_l1_penalty(optimizer: TorchOptimizer) -> None:
    """Add the gradient of the L1 penalty to those that the backward pass has left, once for each step."""
    for group in optimizer.param_groups:
        penalty = group.get("l1_penalty", 0.0)
        for parameter in group["params"] if penalty else ():
            if parameter.grad is not None:
                parameter.grad.add_(parameter.sign(), alpha=penalty)


def _adam_settings(recipe: Optimizer) -> dict[str, Any]:
    return {"betas": (recipe.beta1, recipe.beta2), "eps": recipe.epsilon}


def _build_sgd(recipe: Optimizer, groups: list[TorchGroup], fused: bool) -> TorchOptimizer:  # noqa: FBT001  # one signature
    momentum = recipe.momentum or 0.0
    # torch's fused kernels of adam take sharded parameters, that of sgd does not.
    fused = fused and not any(isinstance(parameter, DTensor) for group in groups for parameter in group["params"])
    return SGD(groups, momentum=momentum, nesterov=bool(recipe.nesterov) and momentum > 0, fused=fused)


def _build_rmsprop(recipe: Optimizer, groups: list[TorchGroup], _fused: bool) -> TorchOptimizer:  # noqa: FBT001
    alpha, epsilon, momentum = recipe.square_decay or 0.0, recipe.epsilon or 0.0, recipe.momentum or 0.0
    return RMSprop(groups, alpha=alpha, eps=epsilon, momentum=momentum)


_BUILDERS: dict[OptimizerName, Callable[[Optimizer, list[TorchGroup], bool], TorchOptimizer]] = {
    OptimizerName.SGD: _build_sgd,
    OptimizerName.ADAM: lambda recipe, groups, fused: Adam(groups, **_adam_settings(recipe), fused=fused),
    OptimizerName.ADAMW: lambda recipe, groups, fused: AdamW(groups, **_adam_settings(recipe), fused=fused),
    OptimizerName.ADAGRAD: lambda recipe, groups, _fused: Adagrad(groups, eps=recipe.epsilon or 0.0),
    OptimizerName.ADADELTA: lambda recipe, groups, _fused: Adadelta(
        groups, rho=recipe.rho or 0.0, eps=recipe.epsilon or 0.0
    ),
    OptimizerName.ADAMAX: lambda recipe, groups, _fused: Adamax(groups, **_adam_settings(recipe)),
    OptimizerName.NADAM: lambda recipe, groups, _fused: NAdam(groups, **_adam_settings(recipe)),
    OptimizerName.RMSPROP: _build_rmsprop,
}
"""torch's fused kernels are those of sgd, adam and adamw on every device; the others update all tensors of a GPU at once."""
