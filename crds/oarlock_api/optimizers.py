"""The one table of optimizers: which parameters each has, and their defaults. Rules, `resolve` and the trainer read it.

A parameter that the chosen optimizer lacks is refused, never ignored, but for what API servers once filled in. Pure.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from oarlock_api import former_defaults
from oarlock_api.choice_rules import build_choice_rules
from oarlock_api.former_defaults import find_unmeant
from oarlock_api.rule import Rule, Scope
from oarlock_api.v1alpha1.recipe import Optimizer, OptimizerName

Setting = float | bool

_ADAM: Mapping[str, Setting] = {"beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8}


@dataclass(frozen=True, kw_only=True, slots=True)
class KnownOptimizer:
    """An optimizer's defaults; `own` holds the parameters that not every optimizer has."""

    learning_rate: float
    own: Mapping[str, Setting]
    weight_decay: float = 0.0
    has_l1_penalty: bool = True


OPTIMIZERS: Mapping[OptimizerName, KnownOptimizer] = {
    OptimizerName.SGD: KnownOptimizer(
        learning_rate=0.05, weight_decay=0.0005, own={"momentum": 0.9, "nesterov": False}
    ),
    OptimizerName.ADAM: KnownOptimizer(learning_rate=0.001, own=_ADAM),
    OptimizerName.ADAMW: KnownOptimizer(learning_rate=0.001, weight_decay=0.01, own=_ADAM),
    OptimizerName.ADAGRAD: KnownOptimizer(learning_rate=0.01, own={"epsilon": 1e-10}),
    OptimizerName.ADADELTA: KnownOptimizer(learning_rate=1.0, own={"rho": 0.9, "epsilon": 1e-6}),
    OptimizerName.ADAMAX: KnownOptimizer(learning_rate=0.002, own=_ADAM),
    OptimizerName.NADAM: KnownOptimizer(learning_rate=0.002, own=_ADAM),
    OptimizerName.RMSPROP: KnownOptimizer(
        learning_rate=0.001, own={"momentum": 0.0, "squareDecay": 0.99, "epsilon": 1e-8}
    ),
    OptimizerName.MUON: KnownOptimizer(
        learning_rate=0.001,
        weight_decay=0.01,
        own={"momentum": 0.95, "nesterov": True, **_ADAM},
        # Its steps have the same size whatever the gradient's; a penalty added to the gradient would be lost in that.
        has_l1_penalty=False,
    ),
}
_FIELDS = {name: field.alias or name for name, field in Optimizer.model_fields.items()}
"""Names in Python and on the wire."""


def list_parameters(name: OptimizerName) -> dict[str, Setting]:
    """Return the parameters of an optimizer with their defaults, by their names on the wire."""
    known = OPTIMIZERS[name]
    penalty: dict[str, Setting] = {"l1Penalty": 0.0} if known.has_l1_penalty else {}
    return {"learningRate": known.learning_rate, "weightDecay": known.weight_decay, **penalty, **known.own}


def resolve_optimizer(optimizer: Optimizer) -> Optimizer:
    """Return the optimizer with every parameter that it has filled in, and none that it has not."""
    defaults = list_parameters(optimizer.name)
    unmeant = find_unmeant(optimizer.to_wire(), former_defaults.OPTIMIZER, defaults)
    absent = {
        name: defaults.get(field)
        for name, field in _FIELDS.items()
        if field in unmeant or (field in defaults and getattr(optimizer, name) is None)
    }
    return optimizer.model_copy(update=absent)


def _nesterov_without_momentum(optimizer: Scope) -> str | None:
    wants = optimizer.get("nesterov") is True and optimizer.get("momentum") == 0
    return "nesterov with momentum 0" if wants else None


def _muon_in_shards(recipe: Scope) -> str | None:
    optimizer = recipe.get("optimizer")
    name = optimizer.get("name") if isinstance(optimizer, Mapping) else None
    return "muon with fsdp" if name == "muon" and recipe.get("parallelism") == "fsdp" else None


OPTIMIZER_RULES: tuple[Rule, ...] = (
    *build_choice_rules(
        "spec.recipe.optimizer",
        default="adamw",
        choices={str(name): list_parameters(name) for name in OPTIMIZERS},
        former=former_defaults.OPTIMIZER,
        remedies={"momentum": "drop momentum, or set name to sgd; the Adam family has beta1"},
    ),
    Rule(
        at="spec.recipe.optimizer",
        cel="!has(self.nesterov) || !self.nesterov || !has(self.momentum) || self.momentum > 0.0",
        broken=_nesterov_without_momentum,
        rule="must have a momentum to use nesterov",
        remedy="drop nesterov, or raise momentum",
    ),
    Rule(
        at="spec.recipe",
        cel="!has(self.optimizer) || !has(self.optimizer.name) || self.optimizer.name != 'muon'"
        " || !has(self.parallelism) || self.parallelism != 'fsdp'",
        broken=_muon_in_shards,
        rule="must not have the optimizer muon with fsdp: it needs whole matrices",
        remedy="set parallelism to ddp, or the optimizer to adamw",
    ),
)
