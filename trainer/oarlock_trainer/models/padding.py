"""Images of any size for networks that halve them several times: padded at the right and at the bottom, and cut back after."""

from torch import Tensor
from torch.nn import functional


def pad_to_multiple(images: Tensor, multiple: int) -> Tensor:
    """Return [N, C, H, W] with zeros added until both sides are multiples of a number."""
    height, width = images.shape[-2:]
    right, bottom = -width % multiple, -height % multiple
    return functional.pad(images, (0, right, 0, bottom)) if right or bottom else images
