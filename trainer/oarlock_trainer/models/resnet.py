"""A small residual network in the CIFAR form: three stages of 3 by 3 convolutions, then the mean over all pixels.

The mean is taken by `Tensor.mean`, not by adaptive pooling, whose gradient has no deterministic form on CUDA.
"""

from torch import Tensor, nn
from torch.nn import functional

from oarlock_trainer.models.forms import SampleForm

_WIDTHS = (16, 32, 64)
_BLOCKS_PER_STAGE = 2


class ResidualBlock(nn.Module):
    """Two convolutions beside a shortcut, which is a 1 by 1 convolution where the shape changes."""

    def __init__(self, inputs: int, outputs: int, *, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, images: Tensor) -> Tensor:
        inner = functional.relu(self.norm1(self.conv1(images)))
        return functional.relu(self.norm2(self.conv2(inner)) + self.shortcut(images))


class ResNet(nn.Module):
    """[N, C, H, W] to logits [N, outputs]; 14 layers, 175 thousand parameters."""

    def __init__(self, form: SampleForm, outputs: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(form.channels, _WIDTHS[0], 3, padding=1, bias=False), nn.BatchNorm2d(_WIDTHS[0]), nn.ReLU()
        )
        self.stages = nn.Sequential(*_build_stages())
        self.head = nn.Linear(_WIDTHS[-1], outputs)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.stages(self.stem(images)).mean(dim=(2, 3)))
        return logits


def _build_stages() -> list[nn.Module]:
    blocks: list[nn.Module] = []
    inputs = _WIDTHS[0]
    for stage, width in enumerate(_WIDTHS):
        for block in range(_BLOCKS_PER_STAGE):
            stride = 2 if stage > 0 and block == 0 else 1
            blocks.append(ResidualBlock(inputs, width, stride=stride))
            inputs = width
    return blocks
