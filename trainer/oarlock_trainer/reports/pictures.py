"""Samples as small PNG pictures: images, masks over them, boxes. Pure: arrays in, base64 out."""

import base64
import colorsys
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

_SIDE = 160
"""Longest side; smaller images keep their pixels, and the page enlarges them."""
_BOXED = 320
"""Boxes need room to be told apart."""
_IGNORED = 255
_GOLDEN = 0.618033988749895

Pixels = NDArray[np.uint8]


def encode_image(pixels: Pixels) -> str:
    """Return an image uint8 [H, W, C] as PNG in base64."""
    return _encode(_as_image(pixels))


def encode_masked(pixels: Pixels, mask: Pixels) -> str:
    """Return an image with the classes of its pixels, [H, W], in colours over it; class 0 and what is ignored stay clear."""
    colours = np.array([_colour(index) for index in range(256)], np.float32)
    base = np.asarray(_as_image(pixels).convert("RGB"), np.float32)
    shown = (mask != 0) & (mask != _IGNORED)
    mixed = np.where(shown[..., None], 0.45 * base + 0.55 * colours[mask], base)
    return _encode(Image.fromarray(mixed.astype(np.uint8)))


def encode_boxed(pixels: Pixels, boxes: NDArray[np.float32], names: list[str]) -> str:
    """Return an image with boxes [N, 5]: class, centre, width and height as shares of the image."""
    image = _as_image(pixels).convert("RGB")
    factor = max(1, _BOXED // max(image.size))
    image = image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
    draw = ImageDraw.Draw(image)
    for kind, x, y, width, height in boxes.tolist():
        colour = _colour(int(kind) + 1)
        left, top = (x - width / 2) * image.width, (y - height / 2) * image.height
        right, bottom = max(left + 1, (x + width / 2) * image.width), max(top + 1, (y + height / 2) * image.height)
        draw.rectangle((left, top, right, bottom), outline=colour, width=2)
        draw.text((left + 3, top + 1), names[int(kind)][:20], fill=colour)
    return _encode(image, side=_BOXED)


def _as_image(pixels: Pixels) -> Image.Image:
    channels = pixels.shape[2]
    if channels in (3, 4):
        return Image.fromarray(np.ascontiguousarray(pixels[..., :3]))
    return Image.fromarray(np.ascontiguousarray(pixels[..., 0]))


def _encode(image: Image.Image, *, side: int = _SIDE) -> str:
    image.thumbnail((side, side))
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return base64.b64encode(file.getvalue()).decode()


def _colour(index: int) -> tuple[int, int, int]:
    """Return one of many colours that differ as much as their number allows."""
    red, green, blue = colorsys.hsv_to_rgb(index * _GOLDEN % 1.0, 0.75, 0.95)
    return round(255 * red), round(255 * green), round(255 * blue)
