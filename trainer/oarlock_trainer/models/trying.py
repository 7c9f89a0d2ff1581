"""A forward pass for trial: it tells what a model makes of some samples, and leaves the model itself as it was.

A module may keep what it made at its first pass (positions, masks, a lazy layer's weights) and counts what it sees. So a copy is
tried. What it holds are tensors without values where the model needs none, which makes the copy of a large model small. What
cannot be copied (a lock, an open file) is tried itself, with real values, and everything that its modules hold is put back.
"""

import copy
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from oarlock_trainer.models.forms import SampleForm


def try_forward(network: nn.Module, form: SampleForm, *, samples: int) -> object:
    """Return what the model makes of so many samples, tried without arithmetic where all of it can do that, else on the CPU.

    Whatever the model raises comes up. Nothing of it changes, and nothing is drawn from torch's random generator.
    """
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        try:
            return copy_model(network, _empty)(make_inputs(form, samples, device="meta"))
        except Exception:  # noqa: BLE001  # a model may look at values; whether it fails then says the second call
            inputs = make_inputs(form, samples, device="cpu")
        try:
            tried = copy_model(network)
        except Exception:  # noqa: BLE001  # whatever its parts say who cannot be copied
            with _put_back_after(network):
                return network(inputs)
        return tried(inputs)


def make_inputs(form: SampleForm, samples: int, *, device: str) -> Tensor:
    """Return black images, [samples, channels, height, width], or texts of unknown words, [samples, length]."""
    if form.is_text:
        return torch.ones(samples, *form.shape, dtype=torch.int64, device=device)
    return torch.zeros(samples, form.channels, form.height, form.width, device=device)


def copy_model(network: nn.Module, change: Callable[[Tensor], Tensor] = Tensor.clone) -> nn.Module:
    """Return a copy in which `change` has made the tensors that modules hold; what lazy layers lack is lacking there too.

    Tensors that are a result of others, which torch refuses to copy, are copied by their values.
    """
    held = (value for module in network.modules() for value in _list_tensors(module))
    known: dict[int, Any] = {id(value): _like(value, change(value.detach())) for value in held if not is_lazy(value)}
    return copy.deepcopy(network, known)


def _list_tensors(module: nn.Module) -> Iterator[Tensor]:
    own = chain(module.parameters(recurse=False), module.buffers(recurse=False), vars(module).values())
    return (value for value in own if isinstance(value, Tensor))


def _like(value: Tensor, made: Tensor) -> Tensor:
    return nn.Parameter(made, requires_grad=value.requires_grad) if isinstance(value, nn.Parameter) else made


def _empty(value: Tensor) -> Tensor:
    return torch.empty_like(value, device="meta")


@contextmanager
def _put_back_after(network: nn.Module) -> Iterator[None]:
    """Put back what the modules hold: their tensors by value, attributes and what is in their lists and dictionaries by identity.

    The containers stay the same objects, since hooks know theirs.
    """
    states: list[dict[str, Any]] = [vars(module) for module in network.modules()]
    kept = [value for state in states for value in state.values() if isinstance(value, MutableMapping | list | set)]
    containers = [(container, copy.copy(container)) for container in (*states, *kept)]
    tensors = [(value, value.detach().clone()) for module in network.modules() for value in _list_tensors(module)]
    try:
        yield
    finally:
        for container, content in containers:
            container.clear()
            (container.extend if isinstance(container, list) else container.update)(content)
        for value, before in tensors:
            value.detach().copy_(before)
