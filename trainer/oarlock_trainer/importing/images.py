"""Turns the bytes of an image file into pixels of one size and channel count, as a person who looks at the file expects them.

The EXIF orientation is applied, 16-bit greys are scaled to 8 bits, palettes are looked up, and what is transparent becomes white,
as on a page. What has no agreed reading (floating-point pixels, integers beyond 16 bits) is refused rather than guessed.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError, __version__

from oarlock_api.v1alpha1.dataset import Resize
from oarlock_trainer.importing.geometry import resize_image
from oarlock_trainer.importing.source_files import UnreadableSampleError

DECODER_VERSION = f"1-pillow-{__version__}"
"""Changes when the same file would give other pixels."""

_FORMATS = ("PNG", "JPEG", "BMP", "DIB", "GIF", "PPM", "TIFF", "WEBP")
"""What a file may be, whatever its name says; Pillow's other decoders, some of which start programs, are never reached."""

_SIXTEEN_BITS = 65535
_ORIENTATION = 0x0112
"""Tag of EXIF."""
_TURNED = frozenset({5, 6, 7, 8})
"""Orientations that exchange width and height."""
_MAX_REASON = 200


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
        UnreadableSampleError: if it is not an image, is broken, has more than 179 million pixels, or has no agreed reading.
    """
    with open_image(content) as image:
        return _decode(image, form)


def decode_sized_image(content: bytes, form: PixelFormat) -> tuple[NDArray[np.uint8], tuple[int, int]]:
    """Return the image as [H, W, C], and the width and height that it had, as displayed.

    Raises:
        UnreadableSampleError: as above.
    """
    with open_image(content) as image:
        found = displayed_size(image)
        return _decode(image, form), found


def _decode(image: Image.Image, form: PixelFormat) -> NDArray[np.uint8]:
    # A JPEG can be decoded at a fraction of its size; twice the size that is needed leaves nothing to see of it.
    side = 2 * max(form.width, form.height)
    image.draft(None, (side, side))
    image.load()
    return _to_pixels(image, form)


@contextmanager
def open_image(content: bytes) -> Iterator[Image.Image]:
    """Open an image, and say within the context what is wrong with it.

    Raises:
        UnreadableSampleError: as above.
    """
    if not content:
        raise UnreadableSampleError("the file is empty")
    try:
        with Image.open(io.BytesIO(content), formats=_FORMATS) as image:
            yield image
    except UnreadableSampleError:
        raise
    except UnidentifiedImageError as error:
        raise UnreadableSampleError("the content is not that of an image file") from error
    except Image.DecompressionBombError as error:
        raise UnreadableSampleError("it has more than 179 million pixels") from error
    except MemoryError as error:
        raise UnreadableSampleError("it does not fit in memory") from error
    except Exception as error:  # decoders answer damage with whatever went wrong inside them
        raise UnreadableSampleError(_describe(error)) from error


def displayed_size(image: Image.Image) -> tuple[int, int]:
    """Return the width and height of an image that was opened, as displayed."""
    width, height = image.size
    return (height, width) if image.getexif().get(_ORIENTATION, 1) in _TURNED else (width, height)


def measure_image(content: bytes) -> tuple[int, int]:
    """Return height and width as displayed.

    Raises:
        UnreadableSampleError: if it is not an image or is broken.
    """
    try:
        with Image.open(io.BytesIO(content), formats=_FORMATS) as image:
            image.load()
            width, height = ImageOps.exif_transpose(image).size
    except Exception as error:  # as above
        raise UnreadableSampleError(_describe(error)) from error
    return height, width


def resize_gray(pixels: NDArray[np.uint8], form: PixelFormat) -> NDArray[np.uint8]:
    """Return a grey image [H, W] in the size and channels of `form`."""
    return _to_pixels(Image.fromarray(pixels), form)


def _to_pixels(image: Image.Image, form: PixelFormat) -> NDArray[np.uint8]:
    upright = apply_orientation(image)
    eight_bit = _to_eight_bits(upright)
    mode = "L" if form.channels == 1 else "RGB"
    opaque = _put_on_white(eight_bit) if eight_bit.has_transparency_data else eight_bit
    converted = opaque if opaque.mode == mode else opaque.convert(mode)
    size = (form.width, form.height)
    resized = resize_image(converted, size, form.resize, method=Image.Resampling.BILINEAR)
    # Not np.asarray, which asks the image for more than its bytes and takes half as long again for a small one.
    return np.frombuffer(resized.tobytes(), dtype=np.uint8).reshape(form.shape)


def apply_orientation(image: Image.Image) -> Image.Image:
    """Return the image as it is displayed."""
    return ImageOps.exif_transpose(image) if image.getexif() else image


def _to_eight_bits(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise UnreadableSampleError(
            "its pixels are floating-point numbers, whose range is not known; save it with 8 or 16 bits"
        )
    if image.mode != "I" and not image.mode.startswith("I;16"):
        return image
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > _SIXTEEN_BITS:
        raise UnreadableSampleError(
            f"its pixels go from {values.min()} to {values.max()}, beyond 16 bits; save it with 8 or 16 bits"
        )
    return Image.fromarray(((values * 255 + _SIXTEEN_BITS // 2) // _SIXTEEN_BITS).astype(np.uint8))


def _put_on_white(image: Image.Image) -> Image.Image:
    layer = image.convert("RGBA")
    page = Image.new("RGBA", layer.size, "white")
    return Image.alpha_composite(page, layer).convert("RGB")


def _describe(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return f"it cannot be decoded: {text}"[:_MAX_REASON]
