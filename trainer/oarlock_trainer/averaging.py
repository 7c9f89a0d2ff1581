"""The exponential moving average of the weights: updated after every step, part of every checkpoint, used where the recipe says.

Parameters are averaged, and with them the running statistics of norms, which belong to them; any other buffer (a mask, a table, a
count) is the model's own. As those of the model, buffers are rank 0's when it matters. No collective and no wait for the device.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from oarlock_trainer.batch_norms import list_running_statistics
from oarlock_trainer.sharding import own_part


class WeightAverage:
    """The average of one model, by the names of its state."""

    def __init__(self, model: nn.Module, *, decay: float) -> None:
        """Begin with the weights as they are; `model` is on its device and spread over the processes."""
        self._decay, self._model = decay, model
        live = self._find_live()
        self.values = {name: value.clone() for name, value in live.items()}
        """The averages, changed in place."""
        self.updates = 0
        """Steps that have been taken up."""
        self._averaged = [name for name in _name_learned(model) if live[name].is_floating_point()]
        self._copied = [name for name in live if name not in set(self._averaged)]

    @torch.no_grad()
    def update(self) -> None:
        """Take up the weights after a step.

        The first weights are random: as long as only few steps have been taken up, less of the average is kept than `decay`.
        """
        decay = min(self._decay, (1 + self.updates) / (10 + self.updates))
        self.updates += 1
        live = self._find_live()
        # Of what is spread over the processes, each averages its own part.
        parts = [own_part(live[name]) for name in self._averaged]
        average = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
        average([own_part(self.values[name]) for name in self._averaged], parts, self.updates)
        for name in self._copied:
            self.values[name].copy_(live[name])

    @torch.no_grad()
    def load(self, values: Mapping[str, Tensor], *, updates: int) -> None:
        """Go on from an average that was saved."""
        self.updates = updates
        for name, value in self.values.items():
            value.copy_(values[name])

    @torch.no_grad()
    def put_into_model(self) -> None:
        """Replace the model's weights by the average, for good."""
        for name, value in self._find_live().items():
            value.copy_(self.values[name])

    @contextmanager
    def swapped_in(self) -> Iterator[None]:
        """Let the model have the averaged weights for a while."""
        live = self._find_live()
        kept = {name: value.clone() for name, value in live.items()}
        self.put_into_model()
        try:
            yield
        finally:
            with torch.no_grad():
                for name, value in live.items():
                    value.copy_(kept[name])

    def _find_live(self) -> dict[str, Tensor]:
        """Return the model's state as it is: by name, since a module may put another tensor in a buffer's place."""
        return {name: value.detach() for name, value in self._model.state_dict().items()}


def _name_learned(model: nn.Module) -> list[str]:
    """Return the names, in the model's state, of its parameters and of the running statistics of its norms."""
    statistics = {id(value) for value in list_running_statistics(model)}
    state = model.state_dict(keep_vars=True)
    return [name for name, value in state.items() if isinstance(value, nn.Parameter) or id(value) in statistics]
