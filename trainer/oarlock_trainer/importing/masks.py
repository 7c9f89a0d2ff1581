"""Turns the bytes of a mask's file into the class of each pixel, in the size of the stored image.

Values are taken as they are in grey and palette images; colours are looked up in the class map. Pixels are never mixed: a mask is
brought to its size by the nearest neighbour.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from oarlock_trainer.datasets.columns import IGNORED_PIXEL
from oarlock_trainer.importing.class_map import ClassMap
from oarlock_trainer.importing.geometry import resize_image
from oarlock_trainer.importing.images import PixelFormat, apply_orientation, displayed_size, open_image
from oarlock_trainer.importing.source_files import UnreadableSampleError


def decode_mask(
    content: bytes, form: PixelFormat, classes: ClassMap, *, image_size: tuple[int, int]
) -> NDArray[np.uint8]:
    """Return the class of each pixel [H, W] of the mask of an image that is `image_size` (width, height) large.

    Raises:
        UnreadableSampleError: if it is no mask of that image.
    """
    with open_image(content) as image:
        found = displayed_size(image)
        if found != image_size:
            raise UnreadableSampleError(
                f"the mask is {found[0]}x{found[1]} pixels large, its image {image_size[0]}x{image_size[1]}"
            )
        image.load()
        upright = apply_orientation(image)
        indexes = classes.look_up(_read_colours(upright) if classes.coloured else _read_values(upright))
    size = (form.width, form.height)
    resized = resize_image(
        Image.fromarray(indexes), size, form.resize, method=Image.Resampling.NEAREST, padding=IGNORED_PIXEL
    )
    return np.frombuffer(resized.tobytes(), dtype=np.uint8).reshape(form.height, form.width)


def _read_colours(image: Image.Image) -> NDArray[np.int64]:
    red, green, blue = (np.asarray(channel).astype(np.int64) for channel in image.convert("RGB").split())
    return red << 16 | green << 8 | blue


def _read_values(image: Image.Image) -> NDArray[np.int64]:
    """Return what the file says of each pixel, never looked up in a palette."""
    if image.mode in {"1", "L", "P", "I"} or image.mode.startswith("I;16"):
        return np.asarray(image).astype(np.int64)
    if image.mode in {"LA", "PA"}:
        return np.asarray(image.getchannel(0)).astype(np.int64)
    if image.mode in {"RGB", "RGBA"}:
        red, green, blue = (np.asarray(image.getchannel(channel)) for channel in range(3))
        if np.array_equal(red, green) and np.array_equal(green, blue):
            return red.astype(np.int64)
    raise UnreadableSampleError("the mask is coloured: say what the colours mean in spec.layout.pairs.classMap")
