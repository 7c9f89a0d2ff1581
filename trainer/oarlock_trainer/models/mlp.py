"""A multi-layer perceptron with dropout, for samples of any size: the least model that needs its random state restored."""

import math
from itertools import pairwise

from torch import Tensor, nn

from oarlock_trainer.models.forms import SampleForm

_HIDDEN = (512, 256)
_DROPOUT = 0.2


class Mlp(nn.Module):
    """[N, C, H, W] to logits [N, outputs]."""

    def __init__(self, form: SampleForm, outputs: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Flatten()]
        for inputs, hidden in pairwise((math.prod(form.shape), *_HIDDEN)):
            layers += [nn.Linear(inputs, hidden), nn.ReLU(), nn.Dropout(_DROPOUT)]
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(_HIDDEN[-1], outputs)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.features(images))
        return logits
