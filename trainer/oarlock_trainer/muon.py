"""Muon for the matrices of hidden layers and AdamW for everything else, as one optimizer with one state.

Muon makes the step of a matrix orthogonal. Kernels of convolutions are matrices too, with one row for each output channel, as in
Keller Jordan's reference; embeddings, norms, biases and the last layer are left to AdamW. Moments have the shape and the name of
their parameters, so that checkpoints know nothing of all this. It needs whole matrices: no sharded ones.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from oarlock_trainer.errors import ConfigError
from oarlock_trainer.parameter_groups import TorchGroup

_MATRIX_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.MultiheadAttention, nn.RNNBase)
_MOMENT = "momentum_buffer"
_HEAD = "head"


def find_hidden_matrices(model: nn.Module) -> set[nn.Parameter]:
    """Return the weights of the model's linear, convolution, attention and recurrent layers, without those of its heads.

    The layer that is registered last is a head, and so is what is called one: a model may have several.
    """
    owned = [
        (name, parameter)
        for name, module in model.named_modules()
        if isinstance(module, _MATRIX_LAYERS)
        for parameter in module.parameters(recurse=False)
        if parameter.ndim > 1
    ]
    return {parameter for name, parameter in owned[:-1] if _HEAD not in name.split(".")}


class MuonWithAdamW(Optimizer):
    """Both optimizers behind torch's interface."""

    def __init__(
        self, groups: Sequence[TorchGroup], matrices: set[nn.Parameter], *, muon: dict[str, Any], adamw: dict[str, Any]
    ) -> None:
        """Take over `groups`; `muon` and `adamw` are the arguments of the two.

        Raises:
            ConfigError: if torch has no Muon, or the model no hidden matrix.
        """
        if not hasattr(torch.optim, "Muon"):
            raise ConfigError(
                f"recipe.optimizer.name 'muon' needs torch 2.9, this is {torch.__version__}", remedy="use adamw"
            )
        of_muon, of_adamw = _split(groups, lambda p: p in matrices), _split(groups, lambda p: p not in matrices)
        if not of_muon:
            raise ConfigError(
                "recipe.optimizer.name 'muon' finds no hidden layer with a matrix to train", remedy="use adamw"
            )
        self._views = [[_Matrix(parameter) for parameter in group["params"]] for group in of_muon]
        inner = [
            {**group, "params": [view.flat for view in views]}
            for group, views in zip(of_muon, self._views, strict=True)
        ]
        # Steps as large as those of AdamW, so that one learning rate suits both.
        self._muon = torch.optim.Muon(inner, adjust_lr_fn="match_rms_adamw", **muon)
        self._adamw = AdamW(of_adamw, **adamw) if of_adamw else None
        settings = [
            {key: value for key, value in group.items() if key != "params"} for group in self._muon.param_groups
        ]
        outer = [{**own, "params": group["params"]} for own, group in zip(settings, of_muon, strict=True)]
        super().__init__([*outer, *(self._adamw.param_groups if self._adamw else [])], {})
        for views in self._views:
            for view in views:
                self.state[view.parameter] = {_MOMENT: torch.zeros_like(view.parameter)}
        self._link()

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take up a state that was loaded."""
        super().__setstate__(state)
        self._link()

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Do one step with both."""
        assert closure is None, "no closures here"  # noqa: S101  # a defect of ours
        for inner, outer in zip(self._muon.param_groups, self.param_groups, strict=False):
            inner |= {key: value for key, value in outer.items() if key != "params"}
        for views in self._views:
            for view in views:
                view.adopt_gradient()
        self._muon.step()  # type: ignore[no-untyped-call]
        if self._adamw is not None:
            self._adamw.step()

    def _link(self) -> None:
        """Let both optimizers work on the one state and on the groups, which are new objects after a load."""
        for views in self._views:
            for view in views:
                self._muon.state[view.flat] = {_MOMENT: view.flatten(self.state[view.parameter][_MOMENT])}
        if self._adamw is not None:
            self._adamw.state = self.state
            self._adamw.param_groups = self.param_groups[len(self._views) :]


class _Matrix:
    """A parameter seen as a matrix: a view with one row for each of its rows; Muon does not mind the order of columns."""

    def __init__(self, parameter: nn.Parameter) -> None:
        self.parameter = parameter
        # By the order in memory, in which kernels that are channels-last are matrices without being copied.
        self._columns = sorted(range(1, parameter.ndim), key=parameter.stride, reverse=True)
        self.flat = nn.Parameter(self.flatten(parameter.detach()))
        assert self.flat.data_ptr() == parameter.data_ptr(), "a view"  # noqa: S101  # the layouts that torch makes have one

    def flatten(self, values: Tensor) -> Tensor:
        return values.permute(0, *self._columns).flatten(1)

    def adopt_gradient(self) -> None:
        gradient = self.parameter.grad
        self.flat.grad = None if gradient is None else self.flatten(gradient)


def _split(groups: Sequence[TorchGroup], belongs: Callable[[nn.Parameter], bool]) -> list[TorchGroup]:
    parts = [{**group, "params": [p for p in group["params"] if belongs(p)]} for group in groups]
    return [part for part in parts if part["params"]]
