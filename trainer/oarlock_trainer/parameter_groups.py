"""Which parameters are trained how: by the recipe's groups, the first whose pattern matches the whole name, and by one rule.

The rule: norms' parameters and biases, which are the ones with fewer than two dimensions, get no weight decay and no L1 penalty.
A pattern that matches nothing is refused, since it would be ignored otherwise.
"""

import difflib
import re
from collections.abc import Iterator, Sequence
from types import MethodType
from typing import Any

from torch import nn

from oarlock_api.v1alpha1.recipe import Optimizer, ParameterGroup
from oarlock_trainer.errors import ConfigError

TorchGroup = dict[str, Any]
"""A parameter group of torch's optimizers, with two entries of ours: `rate_share` of the recipe's learning rate, `l1_penalty`."""

_NAMES_SHOWN = 3


def freeze_parameters(model: nn.Module, groups: Sequence[ParameterGroup]) -> None:
    """Keep the parameters of groups with `freeze` as they are.

    Raises:
        ConfigError: if a group matches no parameter, or nothing is left to train.
    """
    own = [parameter.requires_grad for parameter in model.parameters()]
    if not any(own):
        finding = (
            f"all {len(own):,} parameters of the model are frozen by itself" if own else "the model has no parameters"
        )
        raise ConfigError(f"{finding}: there is nothing to train", remedy="let requires_grad of some be True")
    for index, parameters in enumerate(_assign(model, groups)[1:]):
        if groups[index].freeze:
            for parameter in parameters:
                parameter.requires_grad = False
    if not any(parameter.requires_grad for parameter in model.parameters()):
        rest = "" if all(own) else " that the model itself does not"
        raise ConfigError(f"recipe.paramGroups freezes every parameter{rest}", remedy="leave something to train")


def freeze_statistics(model: nn.Module) -> None:
    """Keep the statistics of norms all of whose parameters are frozen; once the norms are the objects that train."""
    for module in model.modules():
        own = list(module.parameters(recurse=False))
        if hasattr(module, "running_mean") and own and not any(parameter.requires_grad for parameter in own):
            module.train = MethodType(_stay_in_evaluation, module)  # type: ignore[method-assign]
            module.eval()


def _stay_in_evaluation(norm: nn.Module, mode: bool = True) -> nn.Module:  # noqa: ARG001, FBT001, FBT002  # torch's form
    """Stand in for a norm's `train`: it goes on using its statistics, and gathers no new ones."""
    return nn.Module.train(norm, mode=False)


def group_parameters(model: nn.Module, optimizer: Optimizer, groups: Sequence[ParameterGroup]) -> list[TorchGroup]:
    """Return what is to be trained, in groups with their weight decay, L1 penalty and share of the learning rate.

    Raises:
        ConfigError: if a group matches no parameter.
    """
    rate = optimizer.learning_rate or 1.0
    torch_groups = []
    for group, parameters in zip((None, *groups), _assign(model, groups), strict=True):
        share = group.learning_rate / rate if group and group.learning_rate else 1.0
        own_decay = group.weight_decay if group else None
        for is_weight in (True, False):
            trained = [p for p in parameters if p.requires_grad and (p.ndim > 1) is is_weight]
            usual_decay = optimizer.weight_decay if is_weight else 0.0
            torch_groups.append(
                {
                    "params": trained,
                    "lr": rate * share,
                    "weight_decay": usual_decay if own_decay is None else own_decay,
                    "rate_share": share,
                    "l1_penalty": (optimizer.l1_penalty or 0.0) if is_weight else 0.0,
                }
            )
    return [group for group in torch_groups if group["params"]]


def _assign(model: nn.Module, groups: Sequence[ParameterGroup]) -> list[list[nn.Parameter]]:
    """Return the parameters that no group matches, then those of each group."""
    patterns = [re.compile(group.match) for group in groups]
    assigned: list[list[nn.Parameter]] = [[] for _ in range(len(groups) + 1)]
    for name, parameter in model.named_parameters():
        matching = (index for index, pattern in enumerate(patterns, start=1) if pattern.fullmatch(name))
        assigned[next(matching, 0)].append(parameter)
    findings = list(_find_idle_groups(model, groups, assigned[1:]))
    if findings:
        raise ConfigError("; ".join(findings), remedy="match whole names of parameters, for example 'fc.*'")
    return assigned


def _find_idle_groups(
    model: nn.Module, groups: Sequence[ParameterGroup], assigned: Sequence[Sequence[nn.Parameter]]
) -> Iterator[str]:
    names = [name for name, _ in model.named_parameters()]
    for index, (group, parameters) in enumerate(zip(groups, assigned, strict=True)):
        if parameters:
            continue
        path = f"recipe.paramGroups[{index}].match {group.match!r}"
        if any(re.fullmatch(group.match, name) for name in names):
            yield f"{path} must match a parameter that no group before it takes"
        else:
            nearest = difflib.get_close_matches(group.match, names, n=_NAMES_SHOWN, cutoff=0) or names[:_NAMES_SHOWN]
            yield f"{path} must match a parameter of the model, the nearest are {', '.join(nearest)}"
