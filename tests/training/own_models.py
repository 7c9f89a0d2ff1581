"""Models such as users bring, for runs in forked ranks: they do what no built-in model does."""

import torch
from torch import Tensor, nn


def build_normed(outputs: int) -> nn.Module:
    """Return a model with a batch norm that refuses a single sample."""
    return nn.Sequential(
        nn.Flatten(), nn.Linear(256, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(), nn.Linear(8, outputs)
    )


def build_odd(outputs: int) -> nn.Module:
    """Return a model with a lazy layer, a 3-d convolution, a scale that its first forward pass makes, and two idle layers.

    One has no part in its answers. The other makes a second one while the model is trained, which not every loss takes up.
    """
    return _Odd(outputs)


class _Odd(nn.Module):
    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.deep = nn.Conv3d(1, 2, (1, 5, 5), stride=(1, 4, 4))
        self.last = nn.LazyLinear(outputs)
        self.spare, self.second = nn.Linear(3, 3), nn.Linear(outputs, outputs)
        self.register_buffer("scale", None, persistent=False)

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        values = self.deep(images.unsqueeze(2)).flatten(1)
        if self.scale is None:
            self.scale = torch.linspace(0, 1, values.shape[1], device=values.device)
        answer: Tensor = self.last(values * self.scale)
        return (answer, self.second(answer)) if self.training else answer
