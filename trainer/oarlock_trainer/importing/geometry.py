"""What becomes of a place in an image when the image is brought to its size: the same for pixels, masks and boxes. Pure."""

from dataclasses import dataclass

from PIL import Image, ImageOps

from oarlock_api.v1alpha1.dataset import Resize


def resize_image(
    image: Image.Image, size: tuple[int, int], resize: Resize, *, method: Image.Resampling, padding: int = 0
) -> Image.Image:
    """Return the image in the size (width, height); `padding` is the value of what fill adds."""
    if image.size == size:
        return image
    if resize is Resize.CROP:
        return ImageOps.fit(image, size, method=method)
    if resize is Resize.FILL:
        return ImageOps.pad(image, size, method=method, color=padding)
    return image.resize(size, method)


@dataclass(frozen=True, kw_only=True, slots=True)
class Placement:
    """Where an image lies in the one that is made of it, both as squares from 0 to 1: new = old * scale + offset."""

    scale_x: float = 1.0
    scale_y: float = 1.0
    offset_x: float = 0.0
    offset_y: float = 0.0


def place_image(found: tuple[int, int], size: tuple[int, int], resize: Resize) -> Placement:
    """Return where an image of the size `found` (width, height) lies in one of `size`."""
    width, height = found
    wide = width * size[1] / (height * size[0])
    """How many times wider than the result it is."""
    if resize is Resize.CROP:
        scale_x, scale_y = max(1.0, wide), max(1.0, 1 / wide)
    elif resize is Resize.FILL:
        scale_x, scale_y = min(1.0, wide), min(1.0, 1 / wide)
    else:
        return Placement()
    return Placement(scale_x=scale_x, scale_y=scale_y, offset_x=(1 - scale_x) / 2, offset_y=(1 - scale_y) / 2)
