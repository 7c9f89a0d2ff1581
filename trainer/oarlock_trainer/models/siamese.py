"""A network whose outputs are a place, not classes: trained so that samples of one class are near each other.

The task shows it the two samples of a pair one after the other; the "twins" are one set of weights.
"""

from torch import Tensor, nn
from torch.nn import functional

from oarlock_trainer.models.forms import SampleForm
from oarlock_trainer.models.lenet import LeNet

_HIDDEN = 64


class Siamese(nn.Module):
    """[N, C, H, W] to places [N, outputs]: LeNet's layers, and a narrow one before the last."""

    def __init__(self, form: SampleForm, outputs: int) -> None:
        super().__init__()
        self.twin = LeNet(form, _HIDDEN)
        self.head = nn.Linear(_HIDDEN, outputs)

    def forward(self, images: Tensor) -> Tensor:
        places: Tensor = self.head(functional.relu(self.twin(images)))
        return places
