"""A detector in the manner of CenterNet (Zhou et al. 2019): objects are the peaks of a map for each class.

A residual trunk, then up to a quarter of the side by transposed convolutions, with what the trunk saw at each size added. No
anchors, no non-maximum suppression; what the maps mean is the task's business.
"""

from typing import Final

from torch import Tensor, nn
from torch.nn import functional

from oarlock_trainer.models.deep_resnet import ResidualTrunk
from oarlock_trainer.models.forms import SampleForm
from oarlock_trainer.models.padding import pad_to_multiple

_COARSEST = 32
_STRIDE = 4
_TRUNK_DEPTH: Final = 18
_BOX_MAPS = 4
"""Width, height, x offset, y offset: the last maps; those before them are the classes' heat maps."""
_FIRST_LOGIT = -2.19
"""Every place begins as an object with a probability of 0.1, so that the many empty places do not swamp the first steps."""


class CenterNet(nn.Module):
    """[N, C, H, W] to [N, classes + 4, H/4, W/4], rounded up: heat-map logits, then width, height, x offset, y offset."""

    def __init__(self, form: SampleForm, outputs: int, *, width: int = 64) -> None:
        super().__init__()
        self.backbone = ResidualTrunk(form.channels, depth=_TRUNK_DEPTH, width=width)
        widths = self.backbone.widths
        self.lateral = nn.ModuleList(nn.Conv2d(each, width, 1, bias=False) for each in widths)
        self.raise_ = nn.ModuleList(nn.ConvTranspose2d(width, width, 4, stride=2, padding=1) for _ in widths[1:])
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for _ in widths)
        self.neck = nn.Sequential(nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU())
        self.head = nn.Conv2d(width, outputs, 1)
        nn.init.normal_(self.head.weight, std=0.001)
        nn.init.zeros_(self.head.bias)  # type: ignore[arg-type]  # torch's stubs allow for a layer without bias
        nn.init.constant_(self.head.bias[: outputs - _BOX_MAPS], _FIRST_LOGIT)  # type: ignore[index]

    def forward(self, images: Tensor) -> Tensor:
        height, width = (-(-side // _STRIDE) for side in images.shape[-2:])
        maps = self.backbone.compute_maps(pad_to_multiple(images, _COARSEST))
        inner = functional.relu(self.norms[-1](self.lateral[-1](maps[-1])))
        for level in reversed(range(len(maps) - 1)):
            raised = self.raise_[level](inner)
            inner = functional.relu(self.norms[level](self.lateral[level](maps[level]) + raised))
        output: Tensor = self.head(self.neck(inner))
        return output[..., :height, :width]
