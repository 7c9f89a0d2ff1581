"""What becomes of image files: people see the same picture before and after, and damage is named."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from importing.made_sources import encode, make_pixels
from PIL import Image

from oarlock_api.v1alpha1.dataset import Resize
from oarlock_trainer.importing.images import PixelFormat, decode_image, measure_image
from oarlock_trainer.importing.source_files import UnreadableSampleError

GRAY = PixelFormat(height=8, width=8, channels=1)
RGB = PixelFormat(height=8, width=8, channels=3)


def decode_one(image: Image.Image | np.ndarray, form: PixelFormat, kind: str = "PNG", **options: object) -> np.ndarray:
    return decode_image(encode(image, kind, **options), form)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "GIF", "PPM"])
def test_pixels_are_kept_when_the_size_fits(kind: str) -> None:
    pixels = make_pixels(1)

    assert np.array_equal(decode_one(pixels, GRAY, kind)[..., 0], pixels)
    assert np.array_equal(decode_one(pixels, RGB, kind), np.repeat(pixels[..., None], 3, axis=2))


def test_pixels_are_kept_when_the_image_is_a_lossless_webp() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)

    assert np.array_equal(decode_one(pixels, RGB, "WEBP", lossless=True), pixels)


def test_image_is_turned_upright_when_exif_says_so() -> None:
    pixels = make_pixels(2, height=4, width=6)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    content = encode(pixels, "PNG", exif=exif)

    assert measure_image(content) == (6, 4)
    upright = decode_image(content, PixelFormat(height=6, width=4, channels=1))[..., 0]
    assert np.array_equal(upright, np.rot90(pixels, -1))


def test_sixteen_bits_are_scaled_to_eight() -> None:
    values = np.array([[0, 257, 65535, 32768]], dtype=np.uint16)

    assert decode_one(values, PixelFormat(height=1, width=4, channels=1))[0, :, 0].tolist() == [0, 1, 255, 128]


def test_palette_is_looked_up() -> None:
    image = Image.new("P", (8, 8), 1)
    image.putpalette([0, 0, 0, 10, 200, 30])

    assert decode_one(image, RGB)[0, 0].tolist() == [10, 200, 30]


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_what_is_transparent_becomes_white(mode: str) -> None:
    image = Image.new(mode, (8, 8))  # black, but fully transparent

    assert (decode_one(image, RGB) == 255).all()
    assert (decode_one(image, GRAY) == 255).all()


def test_bilevel_image_becomes_black_and_white() -> None:
    image = Image.new("1", (8, 8), 1)

    assert (decode_one(image, GRAY) == 255).all()


def test_cmyk_becomes_rgb() -> None:
    red = decode_one(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), RGB, "TIFF")[0, 0]

    assert red.tolist() == [255, 0, 0]


def test_squash_ignores_the_proportions() -> None:
    image = np.zeros((8, 16), dtype=np.uint8)
    image[:, 8:] = 200

    squashed = decode_one(image, GRAY)[..., 0]
    assert (squashed[:, :3] == 0).all()
    assert (squashed[:, 5:] == 200).all()


def test_crop_cuts_the_centre() -> None:
    image = np.zeros((8, 16), dtype=np.uint8)
    image[:, 4:12] = 200

    assert (decode_one(image, PixelFormat(height=8, width=8, channels=1, resize=Resize.CROP)) == 200).all()


def test_fill_pads_with_black() -> None:
    image = np.full((8, 16), 200, dtype=np.uint8)

    filled = decode_one(image, PixelFormat(height=8, width=8, channels=1, resize=Resize.FILL))[..., 0]
    assert filled[:, 0].tolist() == [0, 0, 200, 200, 200, 200, 0, 0]


def test_large_jpeg_is_close_to_full_decoding_when_it_is_decoded_at_a_fraction() -> None:
    ramp = np.linspace(0, 255, 1024).astype(np.uint8)
    content = encode(np.tile(ramp, (512, 1)), "JPEG", quality=95)
    form = PixelFormat(height=32, width=32, channels=1)

    full = np.asarray(Image.open(io.BytesIO(content)).resize((32, 32), Image.Resampling.BILINEAR)).astype(int)
    assert np.abs(decode_image(content, form)[..., 0].astype(int) - full).max() <= 3


PNG, JPEG = (
    encode(np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8), kind) for kind in ("PNG", "JPEG")
)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the file is empty"),
        (b"not an image at all", "not that of an image file"),
        (PNG[: len(PNG) // 2], "truncated"),
        (JPEG[: len(JPEG) // 2], "truncated"),
        (PNG[:20], "cannot be decoded|not that of an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not that of an image file"),
        (encode(Image.new("F", (4, 4), 0.5), "TIFF"), "floating-point"),
        (encode(Image.new("I", (4, 4), 70000), "TIFF"), "from 70000 to 70000, beyond 16 bits"),
    ],
    ids=["empty", "text", "png", "jpeg", "header", "postscript", "float", "32-bit"],
)
def test_damage_is_named(content: bytes, reason: str) -> None:
    with pytest.raises(UnreadableSampleError, match=reason):
        decode_image(content, GRAY)


def test_decompression_bomb_is_refused() -> None:
    bomb = encode(Image.new("1", (20000, 20000)), "PNG")

    with pytest.raises(UnreadableSampleError, match="more than 179 million pixels"):
        decode_image(bomb, GRAY)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_any_damage_gives_pixels_or_a_reason(data: st.DataObject) -> None:
    content = bytearray(data.draw(st.sampled_from([PNG, JPEG])))
    for _ in range(data.draw(st.integers(1, 5))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    damaged = bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        assert decode_image(damaged, GRAY).shape == (8, 8, 1)
    except UnreadableSampleError as error:
        reason = str(error)
    else:
        return
    assert reason
    assert "0x" not in reason, "no address of an object: the same file gives the same reason"
