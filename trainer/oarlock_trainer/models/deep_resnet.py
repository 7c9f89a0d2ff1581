"""Residual networks in the ImageNet form (He et al. 2015, with the stride in the 3 by 3 convolution: "v1.5").

Parameters have the names and shapes of torchvision's, so that weights made there load here. The mean over pixels is taken by
`Tensor.mean`: adaptive pooling has no deterministic gradient on CUDA, and gives the same number.
"""

from typing import Literal

from torch import Tensor, nn
from torch.nn import functional

from oarlock_trainer.models.forms import SampleForm

Depth = Literal[18, 34, 50]
_BLOCKS: dict[Depth, tuple[int, int, int, int]] = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}
_EXPANSION = 4
"""Channels that leave a bottleneck for each one inside it."""
_BOTTLENECKS_FROM = 50


class BasicBlock(nn.Module):
    """Two 3 by 3 convolutions beside a shortcut."""

    def __init__(self, inputs: int, width: int, *, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = _build_shortcut(inputs, width, stride=stride)

    def forward(self, images: Tensor) -> Tensor:
        inner = functional.relu(self.bn1(self.conv1(images)))
        shortcut = images if self.downsample is None else self.downsample(images)
        return functional.relu(self.bn2(self.conv2(inner)) + shortcut)


class Bottleneck(nn.Module):
    """A 3 by 3 convolution between two of 1 by 1, beside a shortcut."""

    def __init__(self, inputs: int, width: int, *, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, width * _EXPANSION, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(width * _EXPANSION)
        self.downsample = _build_shortcut(inputs, width * _EXPANSION, stride=stride)

    def forward(self, images: Tensor) -> Tensor:
        inner = functional.relu(self.bn1(self.conv1(images)))
        inner = functional.relu(self.bn2(self.conv2(inner)))
        shortcut = images if self.downsample is None else self.downsample(images)
        return functional.relu(self.bn3(self.conv3(inner)) + shortcut)


def _build_shortcut(inputs: int, outputs: int, *, stride: int) -> nn.Sequential | None:
    """Return what makes the shortcut's shape that of the block's output; None if it is that already."""
    if stride == 1 and inputs == outputs:
        return None
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs))


class ResidualTrunk(nn.Module):
    """[N, C, H, W] to four maps, of a quarter, an eighth, a 16th and a 32nd of the side, rounded up."""

    def __init__(self, channels: int, *, depth: Depth, width: int = 64) -> None:
        super().__init__()
        block: type[BasicBlock | Bottleneck] = Bottleneck if depth >= _BOTTLENECKS_FROM else BasicBlock
        expansion = _EXPANSION if block is Bottleneck else 1
        inner = tuple(width * 2**stage for stage in range(4))
        self.widths = tuple(expansion * each for each in inner)
        """Channels of each map."""
        self.conv1 = nn.Conv2d(channels, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        inputs = width
        for stage, (stage_width, blocks) in enumerate(zip(inner, _BLOCKS[depth], strict=True)):
            first = block(inputs, stage_width, stride=1 if stage == 0 else 2)
            inputs = stage_width * expansion
            others = (block(inputs, stage_width, stride=1) for _ in range(blocks - 1))
            self.add_module(f"layer{stage + 1}", nn.Sequential(first, *others))
        _initialise(self)

    def compute_maps(self, images: Tensor) -> list[Tensor]:
        """Return the maps, the largest first."""
        inner: Tensor = self.maxpool(functional.relu(self.bn1(self.conv1(images))))
        maps = []
        for stage in range(4):
            inner = self.get_submodule(f"layer{stage + 1}")(inner)
            maps.append(inner)
        return maps


class DeepResNet(ResidualTrunk):
    """[N, C, H, W] to logits [N, outputs]; 11.7, 21.8 and 25.6 million parameters for colour images and 1,000 classes."""

    def __init__(self, form: SampleForm, outputs: int, *, depth: Depth, width: int = 64) -> None:
        super().__init__(form.channels, depth=depth, width=width)
        self.fc = nn.Linear(self.widths[-1], outputs)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.fc(self.compute_maps(images)[-1].mean(dim=(2, 3)))
        return logits


def _initialise(trunk: nn.Module) -> None:
    """Start every block as its shortcut: the last norm's scale is 0, which trains better with large batches."""
    for module in trunk.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        if isinstance(module, BasicBlock):
            nn.init.zeros_(module.bn2.weight)
        if isinstance(module, Bottleneck):
            nn.init.zeros_(module.bn3.weight)
