"""A wide and shallow residual network for 32 by 32 colour pixels: few layers, so that a GPU is busy and not waited for.

Nine layers in the manner of the fast CIFAR recipes: channels grow fast, pixels shrink fast, one short residual pair at two of the
three sizes. Convolutions, batch norms and pooling alone; 6.6 million parameters at width 64.
"""

from torch import Tensor, nn


def build(sample_shape: tuple[int, int, int], outputs: int, width: int = 64) -> nn.Module:
    """Return the model for samples of (height, width, channels)."""
    return SpeedNet(sample_shape[2], outputs, width)


class SpeedNet(nn.Module):
    """[N, C, 32, 32] to logits [N, outputs]."""

    def __init__(self, channels: int, outputs: int, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            make_layer(channels, width),
            make_layer(width, 2 * width),
            nn.MaxPool2d(2),
            Residual(2 * width),
            make_layer(2 * width, 4 * width),
            nn.MaxPool2d(2),
            make_layer(4 * width, 8 * width),
            nn.MaxPool2d(2),
            Residual(8 * width),
        )
        self.head = nn.Linear(8 * width, outputs, bias=False)
        self.scale = 0.125
        """Keeps the logits small at first, so that a large learning rate is safe."""

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.layers(images).amax(dim=(2, 3))) * self.scale
        return logits


class Residual(nn.Module):
    """Two layers beside what they began with."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(make_layer(width, width), make_layer(width, width))

    def forward(self, images: Tensor) -> Tensor:
        after: Tensor = images + self.layers(images)
        return after


def make_layer(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.CELU(alpha=0.3)
    )
