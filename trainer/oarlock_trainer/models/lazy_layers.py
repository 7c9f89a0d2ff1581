"""Layers that learn their sizes from the first sample (`nn.LazyLinear` and the like), which get them before anything else asks.

An optimizer, a checkpoint and the other ranks need the weights first. The model's own forward pass is tried on a copy, so that no
statistics change; then each lazy layer draws its weights, in the order of the pass, from torch's generator, as other layers do.
"""

from typing import Any

import torch
from torch import nn
from torch.nn.modules.lazy import LazyModuleMixin

from oarlock_trainer.errors import ConfigError
from oarlock_trainer.models.forms import SampleForm
from oarlock_trainer.models.trying import copy_model, make_inputs

_SAMPLES = 2
_Call = tuple[tuple[Any, ...], dict[str, Any]]


def has_lazy_layers(network: nn.Module) -> bool:
    """Say whether some layer does not know its size yet."""
    return bool(_find_lazy(network))


def complete_lazy_layers(network: nn.Module, form: SampleForm) -> None:
    """Give all lazy layers of a model on the CPU their sizes and weights; whatever its forward pass raises comes up.

    Raises:
        ConfigError: if the forward pass does not come to one of them.
    """
    calls = _watch_first_calls(network, form)
    lazy = _find_lazy(network)
    for name, (args, kwargs) in calls.items():
        lazy[name]._infer_parameters(lazy[name], args, kwargs)  # noqa: SLF001  # torch has no public form of it
    missed = sorted(_find_lazy(network))
    if missed:
        raise ConfigError(
            f"the lazy layers {', '.join(missed)} cannot get their sizes: the model's forward pass does not come to them",
            remedy="give them their sizes (nn.Linear instead of nn.LazyLinear, for example), or take them out",
        )


def _watch_first_calls(network: nn.Module, form: SampleForm) -> dict[str, _Call]:
    """Return what the lazy layers get when they are called first, by name, in the order of the calls."""
    tried, calls = copy_model(network), dict[str, _Call]()
    for name, layer in _find_lazy(tried).items():

        def note(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], name: str = name) -> None:
            calls.setdefault(name, (args, kwargs))

        layer.register_forward_pre_hook(note, with_kwargs=True)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        tried(make_inputs(form, _SAMPLES, device="cpu"))
    return calls


def _find_lazy(network: nn.Module) -> dict[str, Any]:
    """Return the layers that have not seen a sample: they have the hook still that looks at it."""
    return {
        name: module
        for name, module in network.named_modules()
        if isinstance(module, LazyModuleMixin) and hasattr(module, "_initialize_hook")
    }
