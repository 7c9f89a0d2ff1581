"""LeNet as DIGITS trained it: two convolutions with pooling and two linear layers, for grey or colour images of any size."""

from torch import Tensor, nn

from oarlock_trainer.models.forms import SampleForm

_KERNEL = 5
_CHANNELS = (20, 50)
_HIDDEN = 500


def _side_after_convolutions(side: int) -> int:
    for _ in _CHANNELS:
        side = (side - _KERNEL + 1) // 2
    return side


class LeNet(nn.Module):
    """[N, C, H, W] to logits [N, outputs]; 431 thousand parameters for 28 by 28 grey pixels and ten classes."""

    def __init__(self, form: SampleForm, outputs: int) -> None:
        super().__init__()
        features = _CHANNELS[1] * _side_after_convolutions(form.height) * _side_after_convolutions(form.width)
        self.features = nn.Sequential(
            nn.Conv2d(form.channels, _CHANNELS[0], _KERNEL),
            nn.MaxPool2d(2),
            nn.Conv2d(_CHANNELS[0], _CHANNELS[1], _KERNEL),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(features, _HIDDEN),
            nn.ReLU(),
        )
        self.head = nn.Linear(_HIDDEN, outputs)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.features(images))
        return logits
