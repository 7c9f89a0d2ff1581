"""Turns the bytes of an image file into pixels of one size and channel count, as a person who looks at the file expects them.

The EXIF orientation is applied, 16-bit greys are scaled to 8 bits, palettes are looked up, and what is transparent becomes white,
as on a page. What has no agreed reading (floating-point pixels, integers beyond 16 bits) is refused rather than guessed.
"""

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError, __version__

from oarlock_api.v1alpha1.dataset import Resize

DECODER_VERSION = f"1-pillow-{__version__}"
"""Changes when the same file would give other pixels."""

_FORMATS = ("PNG", "JPEG", "BMP", "DIB", "GIF", "PPM", "TIFF", "WEBP")
"""What a file may be, whatever its name says; Pillow's other decoders, some of which start programs, are never reached."""

_SIXTEEN_BITS = 65535
_MAX_REASON = 200


class UnreadableImageError(Exception):
    """An image file that cannot be part of a data set; its text is the reason."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PixelFormat:
    """Size and channels that every sample of the data set has."""

    height: int
    width: int
    channels: int
    """1 or 3."""
    resize: Resize = Resize.SQUASH

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.height, self.width, self.channels

    @property
    def bytes(self) -> int:
        return self.height * self.width * self.channels


def decode_image(content: bytes, form: PixelFormat) -> NDArray[np.uint8]:
    """Return the image as [H, W, C].

    Raises:
        UnreadableImageError: if it is not an image, is broken, has more than 179 million pixels, or has no agreed reading.
    """
    if not content:
        raise UnreadableImageError("the file is empty")
    try:
        with Image.open(io.BytesIO(content), formats=_FORMATS) as image:
            # A JPEG can be decoded at a fraction of its size; twice the size that is needed leaves nothing to see of it.
            side = 2 * max(form.width, form.height)
            image.draft(None, (side, side))
            image.load()
            return _to_pixels(image, form)
    except UnreadableImageError:
        raise
    except UnidentifiedImageError as error:
        raise UnreadableImageError("the content is not that of an image file") from error
    except Image.DecompressionBombError as error:
        raise UnreadableImageError("it has more than 179 million pixels") from error
    except MemoryError as error:
        raise UnreadableImageError("it does not fit in memory") from error
    except Exception as error:  # decoders answer damage with whatever went wrong inside them
        raise UnreadableImageError(_describe(error)) from error


def measure_image(content: bytes) -> tuple[int, int]:
    """Return height and width as displayed.

    Raises:
        UnreadableImageError: if it is not an image or is broken.
    """
    try:
        with Image.open(io.BytesIO(content), formats=_FORMATS) as image:
            image.load()
            width, height = ImageOps.exif_transpose(image).size
    except Exception as error:  # as above
        raise UnreadableImageError(_describe(error)) from error
    return height, width


def resize_gray(pixels: NDArray[np.uint8], form: PixelFormat) -> NDArray[np.uint8]:
    """Return a grey image [H, W] in the size and channels of `form`."""
    return _to_pixels(Image.fromarray(pixels), form)


def _to_pixels(image: Image.Image, form: PixelFormat) -> NDArray[np.uint8]:
    upright = _apply_orientation(image)
    eight_bit = _to_eight_bits(upright)
    mode = "L" if form.channels == 1 else "RGB"
    opaque = _put_on_white(eight_bit) if eight_bit.has_transparency_data else eight_bit
    converted = opaque if opaque.mode == mode else opaque.convert(mode)
    # Not np.asarray, which asks the image for more than its bytes and takes half as long again for a small one.
    return np.frombuffer(_resize(converted, form).tobytes(), dtype=np.uint8).reshape(form.shape)


def _apply_orientation(image: Image.Image) -> Image.Image:
    return ImageOps.exif_transpose(image) if image.getexif() else image


def _to_eight_bits(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise UnreadableImageError(
            "its pixels are floating-point numbers, whose range is not known; save it with 8 or 16 bits"
        )
    if image.mode != "I" and not image.mode.startswith("I;16"):
        return image
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > _SIXTEEN_BITS:
        raise UnreadableImageError(
            f"its pixels go from {values.min()} to {values.max()}, beyond 16 bits; save it with 8 or 16 bits"
        )
    return Image.fromarray(((values * 255 + _SIXTEEN_BITS // 2) // _SIXTEEN_BITS).astype(np.uint8))


def _put_on_white(image: Image.Image) -> Image.Image:
    layer = image.convert("RGBA")
    page = Image.new("RGBA", layer.size, "white")
    return Image.alpha_composite(page, layer).convert("RGB")


def _resize(image: Image.Image, form: PixelFormat) -> Image.Image:
    size = (form.width, form.height)
    if image.size == size:
        return image
    method: dict[str, Any] = {"method": Image.Resampling.BILINEAR}
    if form.resize is Resize.CROP:
        return ImageOps.fit(image, size, **method)
    if form.resize is Resize.FILL:
        return ImageOps.pad(image, size, **method, color=0)
    return image.resize(size, Image.Resampling.BILINEAR)


def _describe(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return f"it cannot be decoded: {text}"[:_MAX_REASON]
