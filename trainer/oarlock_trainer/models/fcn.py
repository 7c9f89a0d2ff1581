"""A fully convolutional network (Long et al. 2015) on a residual trunk: "FCN-8s".

Scores are made at an eighth, a 16th and a 32nd of the side and added up from coarse to fine by transposed convolutions, which
begin as bilinear upsampling; `interpolate` itself has no deterministic gradient on CUDA.
"""

from typing import Final

import torch
from torch import Tensor, nn

from oarlock_trainer.models.deep_resnet import ResidualTrunk
from oarlock_trainer.models.forms import SampleForm
from oarlock_trainer.models.padding import pad_to_multiple

_COARSEST = 32
_FINEST = 8
_TRUNK_DEPTH: Final = 18


class Fcn(nn.Module):
    """[N, C, H, W] to [N, outputs, H, W]; 11.2 million parameters, in `backbone` under torchvision's names of ResNet-18."""

    def __init__(self, form: SampleForm, outputs: int, *, width: int = 64) -> None:
        super().__init__()
        self.backbone = ResidualTrunk(form.channels, depth=_TRUNK_DEPTH, width=width)
        fine, middle, coarse = (nn.Conv2d(channels, outputs, 1) for channels in self.backbone.widths[1:])
        raise_coarse, raise_middle, raise_fine = (build_upsampling(outputs, factor) for factor in (2, 2, _FINEST))
        self.head = nn.ModuleDict(
            {
                "coarse": coarse,
                "raiseCoarse": raise_coarse,
                "middle": middle,
                "raiseMiddle": raise_middle,
                "fine": fine,
                "raiseFine": raise_fine,
            }
        )

    def forward(self, images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        _, fine, middle, coarse = self.backbone.compute_maps(pad_to_multiple(images, _COARSEST))
        head = self.head
        scores = head["middle"](middle) + head["raiseCoarse"](head["coarse"](coarse))
        scores = head["fine"](fine) + head["raiseMiddle"](scores)
        maps: Tensor = head["raiseFine"](scores)
        return maps[..., :height, :width]


def build_upsampling(channels: int, factor: int) -> nn.ConvTranspose2d:
    """Return a transposed convolution that enlarges each channel by `factor`, bilinearly until it has learned better."""
    layer = nn.ConvTranspose2d(channels, channels, 2 * factor, stride=factor, padding=factor // 2, bias=False)
    distance = (torch.arange(2 * factor, dtype=torch.float32) - factor + 0.5).abs()
    ramp = 1 - distance / factor
    with torch.no_grad():
        layer.weight.zero_()
        layer.weight[range(channels), range(channels)] = ramp[:, None] * ramp
    return layer
