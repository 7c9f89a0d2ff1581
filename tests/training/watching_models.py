"""A small model of a user's own that notes how it is run: in which number format, how often, how exactly."""

import torch
from torch import Tensor, nn

MADE: "list[Watching]" = []
"""The models of this process, in order."""


class WatchingBlock(nn.Module):
    """Composite, as blocks are."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(inputs, outputs), nn.Tanh())
        self.formats: set[torch.dtype] = set()
        self.determined: set[bool] = set()
        self.calls = 0

    def forward(self, values: Tensor) -> Tensor:
        counts = self.training and values.device.type == "cpu"  # elsewhere it is only tried out
        self.calls += counts  # at once: a pass that is repeated ends with the last value that is missing
        outputs: Tensor = self.inner(values.flatten(1))
        if counts:
            self.formats.add(outputs.dtype)
            self.determined.add(torch.are_deterministic_algorithms_enabled())
        return outputs


class Watching(nn.Module):
    def __init__(self, outputs: int, sample_shape: tuple[int, ...]) -> None:
        super().__init__()
        height, width, channels = sample_shape
        self.blocks = nn.ModuleList([WatchingBlock(height * width * channels, 4), WatchingBlock(4, outputs)])
        self.first = [parameter.detach().clone() for parameter in self.parameters()]
        MADE.append(self)

    def forward(self, values: Tensor) -> Tensor:
        for block in self.blocks:
            values = block(values)
        return values

    def measure_way(self) -> float:
        """Return how far the weights are from the first ones."""
        pairs = zip(self.parameters(), self.first, strict=True)
        return float(sum(((now.detach() - first) ** 2).sum() for now, first in pairs) ** 0.5)
