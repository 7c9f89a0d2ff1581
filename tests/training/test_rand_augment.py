"""Each operation of RandAugment is the one that Pillow has by its name, with the strength and the sign that are drawn."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageOps
from training.chosen_draws import choose_draws

from oarlock_api.v1alpha1.recipe import Augment, RandAugment
from oarlock_trainer.augmentation import apply_augmentation
from oarlock_trainer.augmentation.rand_augment import OPERATIONS

HEIGHT, WIDTH = 36, 44
MAGNITUDE = 22.5
"""Three quarters of the strongest."""


def paint() -> NDArray[np.uint8]:
    """Return a smooth picture in three colours, without symmetry and of less than the whole range."""
    down, right = np.mgrid[:HEIGHT, :WIDTH]
    channels = [
        120 + 60 * np.sin(right / 6 + down / 9) + 15 * np.cos(right),
        110 + 60 * np.cos(down / 7 - right / 13) + 15 * np.sin(down),
        90 + right + down / 2 + 20 * np.sin(down / 5),
    ]
    return np.stack(channels, axis=2).clip(10, 240).astype(np.uint8)


def transform(image: Image.Image, *matrix: float) -> Image.Image:
    """Let every pixel come from where `matrix`, two by two and an offset, says; the centre is the origin."""
    a, b, right, c, d, below = matrix
    x, y = WIDTH / 2, HEIGHT / 2
    data = (a, b, x - a * x - b * y + right, c, d, y - c * x - d * y + below)
    return image.transform((WIDTH, HEIGHT), Image.Transform.AFFINE, data, Image.Resampling.BILINEAR)


Operation = Callable[[Image.Image, float], Image.Image]
"""The picture, and the strength from -1 to 1."""
FARTHEST = 150 / 331
MOVES: dict[str, Operation] = {
    "rotate": lambda image, by: image.rotate(30 * by, Image.Resampling.BILINEAR),
    "shearX": lambda image, by: transform(image, 1, 0.3 * by, 0, 0, 1, 0),
    "shearY": lambda image, by: transform(image, 1, 0, 0, 0.3 * by, 1, 0),
    "translateX": lambda image, by: transform(image, 1, 0, FARTHEST * by * WIDTH, 0, 1, 0),
    "translateY": lambda image, by: transform(image, 1, 0, 0, 0, 1, FARTHEST * by * HEIGHT),
}
CHANGES: dict[str, Operation] = {
    "identity": lambda image, _: image,
    "autoContrast": lambda image, _: ImageOps.autocontrast(image),
    "brightness": lambda image, by: ImageEnhance.Brightness(image).enhance(1 + 0.9 * by),
    "color": lambda image, by: ImageEnhance.Color(image).enhance(1 + 0.9 * by),
    "sharpness": lambda image, by: ImageEnhance.Sharpness(image).enhance(1 + 0.9 * by),
    "posterize": lambda image, by: ImageOps.posterize(image, 8 - round(4 * abs(by))),
    "solarize": lambda image, by: ImageOps.solarize(image, int(256 * (1 - abs(by)))),
}


def augment_with(name: str, image: NDArray[np.uint8], sign: float) -> NDArray[np.float32]:
    augment = Augment(rand_augment=RandAugment(operations=1, magnitude=MAGNITUDE))
    draws = choose_draws(augment, operation0=[(OPERATIONS.index(name) + 0.5) / len(OPERATIONS)], sign0=[sign])
    changed: NDArray[np.float32] = apply_augmentation(augment, torch.from_numpy(image)[None], draws)[0].numpy()
    return changed


@pytest.mark.parametrize("sign", [0, 1], ids=["minus", "plus"])
@pytest.mark.parametrize("name", MOVES)
def test_pixels_come_from_where_they_do_in_pillow(name: str, sign: int) -> None:
    image, strength = paint(), (2 * sign - 1) * MAGNITUDE / 30

    changed = augment_with(name, image, sign)

    reference = np.asarray(MOVES[name](Image.fromarray(image), strength))
    inside = np.pad(np.full((HEIGHT - 4, WIDTH - 4), 255, np.uint8), 2)
    covered = np.asarray(MOVES[name](Image.fromarray(inside), strength)) == 255
    assert covered.mean() > 0.4
    assert np.abs(changed - reference)[covered].mean() < 1
    assert np.abs(changed - image)[covered].mean() > 3


@pytest.mark.parametrize("sign", [0, 1], ids=["minus", "plus"])
@pytest.mark.parametrize("name", CHANGES)
def test_values_are_those_of_pillow(name: str, sign: int) -> None:
    image = paint()
    image[10:16, 12:20] = 30  # edges, to be sharpened

    changed = augment_with(name, image, sign)

    reference = np.asarray(CHANGES[name](Image.fromarray(image), (2 * sign - 1) * MAGNITUDE / 30))
    inner = np.s_[1:-1, 1:-1]  # Pillow leaves the last rows as they are when it smooths
    assert np.abs(changed - reference)[inner].max() < 3
    if name != "identity":
        assert np.abs(changed - image)[inner].max() > 4


@pytest.mark.parametrize("sign", [0, 1], ids=["minus", "plus"])
def test_contrast_multiplies_the_distance_from_the_mean(sign: int) -> None:
    """Pillow takes the mean of the gray picture for all channels; of one channel that is the same."""
    image = paint()[..., :1].clip(70, 170)

    changed = augment_with("contrast", image, sign)

    reference = ImageEnhance.Contrast(Image.fromarray(image[..., 0])).enhance(1 + 0.9 * (2 * sign - 1) * MAGNITUDE / 30)
    assert np.abs(changed[..., 0] - np.asarray(reference)).max() < 2
    assert np.abs(changed - image).max() > 10


def test_every_operation_is_compared() -> None:
    assert {*MOVES, *CHANGES, "contrast"} == set(OPERATIONS)


def test_operations_are_done_one_after_the_other_when_there_are_two() -> None:
    augment = Augment(rand_augment=RandAugment(operations=2, magnitude=MAGNITUDE))
    image = paint()
    first, second = ((OPERATIONS.index(name) + 0.5) / len(OPERATIONS) for name in ("solarize", "brightness"))
    draws = choose_draws(augment, operation0=[first], operation1=[second], sign1=[1.0])

    changed = apply_augmentation(augment, torch.from_numpy(image)[None], draws)[0].numpy()

    once = CHANGES["brightness"](CHANGES["solarize"](Image.fromarray(image), 0.75), 0.75)
    assert np.abs(changed - np.asarray(once)).max() < 3
