"""Optimizers: built from the recipe, fused into one kernel where torch can, without weight decay on norms and biases.

The decay rule is this one place; parameter groups of the recipe, once they are supported, come before it.
"""

from collections.abc import Iterable

from torch import nn
from torch.optim import SGD, AdamW
from torch.optim import Optimizer as TorchOptimizer

from oarlock_api.v1alpha1.recipe import Optimizer, OptimizerName
from oarlock_trainer.errors import ConfigError

_FUSED_DEVICES = frozenset({"cpu", "cuda"})
_LEARNING_RATE = {OptimizerName.SGD: 0.05, OptimizerName.ADAMW: 0.001}
_WEIGHT_DECAY = {OptimizerName.SGD: 0.0005, OptimizerName.ADAMW: 0.01}


def highest_learning_rate(recipe: Optimizer) -> float:
    """Return the learning rate at its highest, by the API's documented default if the recipe leaves it open."""
    if recipe.learning_rate is not None:
        return recipe.learning_rate
    return _LEARNING_RATE.get(recipe.name, 0.001)


def build_optimizer(recipe: Optimizer, model: nn.Module, *, device_type: str) -> TorchOptimizer:
    """Return the optimizer over all parameters of `model`, which is on its device already.

    Raises:
        ConfigError: if nothing builds this optimizer yet.
    """
    if recipe.name not in _WEIGHT_DECAY:
        raise ConfigError(
            f"recipe.optimizer.name {recipe.name.value!r} is not supported yet", remedy="use sgd or adamw"
        )
    decay = _WEIGHT_DECAY[recipe.name] if recipe.weight_decay is None else recipe.weight_decay
    groups = _group_by_decay(model.parameters(), decay=decay)
    rate, fused = highest_learning_rate(recipe), device_type in _FUSED_DEVICES
    if recipe.name is OptimizerName.SGD:
        momentum = 0.9 if recipe.momentum is None else recipe.momentum
        return SGD(groups, lr=rate, momentum=momentum, nesterov=recipe.nesterov and momentum > 0, fused=fused)
    return AdamW(groups, lr=rate, betas=(recipe.beta1, recipe.beta2), eps=recipe.epsilon, fused=fused)


def set_learning_rate(optimizer: TorchOptimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate


def _group_by_decay(parameters: Iterable[nn.Parameter], *, decay: float) -> list[dict[str, object]]:
    """Norms' parameters and biases are the ones with fewer than two dimensions."""
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    groups = (
        {"params": [parameter for parameter in trained if parameter.ndim > 1], "weight_decay": decay},
        {"params": [parameter for parameter in trained if parameter.ndim <= 1], "weight_decay": 0.0},
    )
    return [group for group in groups if group["params"]]
