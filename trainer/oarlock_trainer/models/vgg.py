"""VGG (Simonyan and Zisserman 2014): stacks of 3 by 3 convolutions between poolings, and three linear layers with dropout.

Parameters have the names of torchvision's, and at 224 pixels the shapes; for other sizes the first linear layer is as large as
the last map is.
"""

from typing import Literal

from torch import Tensor, nn

from oarlock_trainer.models.forms import SampleForm

Depth = Literal[11, 16]
_CONVOLUTIONS: dict[Depth, tuple[int, ...]] = {11: (1, 1, 2, 2, 2), 16: (2, 2, 3, 3, 3)}
"""Before each pooling."""
_WIDTHS = (1, 2, 4, 8, 8)
"""Channels before each pooling, in units of the first."""
_DROPOUT = 0.5
_HALVINGS = 2 ** len(_WIDTHS)


class Vgg(nn.Module):
    """[N, C, H, W] to logits [N, outputs]; 133 and 138 million parameters for colour images of 224 by 224, 1,000 classes."""

    def __init__(self, form: SampleForm, outputs: int, *, depth: Depth, width: int = 64, hidden: int = 4096) -> None:
        super().__init__()
        self.features = nn.Sequential(*_build_features(form.channels, depth=depth, width=width))
        pixels = (form.height // _HALVINGS) * (form.width // _HALVINGS)
        self.classifier = nn.Sequential(
            nn.Linear(width * _WIDTHS[-1] * pixels, hidden),
            nn.ReLU(),
            nn.Dropout(_DROPOUT),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Dropout(_DROPOUT),
            nn.Linear(hidden, outputs),
        )
        for module in self.modules():
            _initialise(module)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.features(images).flatten(1))
        return logits


def _build_features(channels: int, *, depth: Depth, width: int) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for factor, convolutions in zip(_WIDTHS, _CONVOLUTIONS[depth], strict=True):
        for _ in range(convolutions):
            layers += [nn.Conv2d(channels, width * factor, 3, padding=1), nn.ReLU()]
            channels = width * factor
        layers.append(nn.MaxPool2d(2))
    return layers


def _initialise(module: nn.Module) -> None:
    """Keep the size of the signal through all layers, without which sixteen of them do not begin to learn."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    elif isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=0.01)
    else:
        return
    if module.bias is not None:
        nn.init.zeros_(module.bias)
