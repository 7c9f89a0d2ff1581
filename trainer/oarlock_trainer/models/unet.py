"""U-Net (Ronneberger et al. 2015) with batch norm: a map for each pixel, from what is near it and from what the image shows.

Convolutions are padded, so that the output is as large as the image; images whose sides cannot be halved often enough are
padded too. Upsampling is by transposed convolutions, whose gradient has a deterministic form on CUDA.
"""

import torch
from torch import Tensor, nn

from oarlock_trainer.models.forms import SampleForm
from oarlock_trainer.models.padding import pad_to_multiple


def _build_level(inputs: int, outputs: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (inputs, outputs):
        layers += [nn.Conv2d(channels, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
    return nn.Sequential(*layers)


class UNet(nn.Module):
    """[N, C, H, W] to [N, outputs, H, W]; 7.8 million parameters with 32 channels and four halvings."""

    def __init__(self, form: SampleForm, outputs: int, *, width: int = 32, halvings: int = 4) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(halvings + 1)]
        self.down = nn.ModuleList(
            _build_level(inputs, each) for inputs, each in zip((form.channels, *widths), widths, strict=False)
        )
        self.pool = nn.MaxPool2d(2)
        self.raise_ = nn.ModuleList(nn.ConvTranspose2d(2 * each, each, 2, stride=2) for each in widths[:-1])
        self.up = nn.ModuleList(_build_level(2 * each, each) for each in widths[:-1])
        self.head = nn.Conv2d(width, outputs, 1)
        self._multiple: int = 2**halvings
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        inner = pad_to_multiple(images, self._multiple)
        skipped = []
        for level in self.down[:-1]:
            skipped.append(level(inner))
            inner = self.pool(skipped[-1])
        inner = self.down[-1](inner)
        for raised, level, beside in reversed(list(zip(self.raise_, self.up, skipped, strict=True))):
            inner = level(torch.cat([beside, raised(inner)], dim=1))
        maps: Tensor = self.head(inner)
        return maps[..., :height, :width]
