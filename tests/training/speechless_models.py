"""A model that is worth nothing, and looks fine while it is trained."""

import math

from torch import Tensor, nn


class Speechless(nn.Module):
    """Returns numbers while it is trained, and none afterwards."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.layer = nn.Sequential(nn.Flatten(), nn.Linear(256, outputs))

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.layer(images)
        return logits if self.training else logits * math.nan
