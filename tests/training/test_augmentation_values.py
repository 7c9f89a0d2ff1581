"""Contrast, hue, saturation, value and noise change by as much as the recipe and the draw say."""

import colorsys

import numpy as np
import pytest
import torch
from torch import Tensor
from training.chosen_draws import choose_draws, draw

from oarlock_api.v1alpha1.recipe import Augment, ColorShift
from oarlock_trainer.augmentation import apply_augmentation


def make_images(count: int, *, least: int = 0, most: int = 255, seed: int = 0) -> Tensor:
    dice = np.random.default_rng(seed)
    return torch.from_numpy(dice.integers(least, most + 1, (count, 6, 5, 3)).astype(np.uint8))


def test_the_distance_from_the_mean_is_multiplied_when_contrast_changes() -> None:
    augment = Augment(contrast=0.4)
    images = make_images(4, least=100, most=150)

    changed = apply_augmentation(augment, images, choose_draws(augment, contrast=[0.0, 0.25, 0.5, 1.0])).numpy()

    plain, axes = images.numpy().astype(np.float64), (1, 2)
    assert np.allclose(changed.mean(axis=axes), plain.mean(axis=axes), atol=1e-3)
    factors = np.array([0.6, 0.8, 1.0, 1.4])
    assert np.allclose(changed.std(axis=axes), plain.std(axis=axes) * factors[:, None], rtol=1e-4)


def test_the_factors_of_contrast_that_a_run_draws_reach_from_one_end_to_the_other() -> None:
    augment = Augment(contrast=0.3)
    images = make_images(1, least=100, most=150).repeat(300, 1, 1, 1)

    factors = apply_augmentation(augment, images, draw(augment, 300)).std(dim=(1, 2, 3)) / images.float().std(
        dim=(1, 2, 3)
    )

    assert 0.69 < float(factors.min()) < 0.75
    assert 1.25 < float(factors.max()) < 1.31
    assert abs(float(factors.mean()) - 1) < 0.05


@pytest.mark.parametrize(
    ("color", "drawn"),
    [
        (ColorShift(hue=0.1, saturation=0, value=0), {"hue": [1.0, -2.0, 4.0]}),
        (ColorShift(hue=0, saturation=0.2, value=0), {"saturation": [1.0, -1.0, 4.0]}),
        (ColorShift(hue=0, saturation=0, value=0.3), {"value": [0.5, -1.0, 3.0]}),
        (ColorShift(), {"hue": [1.0, -1.0, 2.0], "saturation": [1.0, 2.0, -1.0], "value": [-1.0, 1.0, 0.5]}),
    ],
    ids=["hue", "saturation", "value", "all three"],
)
def test_every_pixel_has_the_colour_of_colorsys_when_colours_shift(
    color: ColorShift, drawn: dict[str, list[float]]
) -> None:
    augment, images = Augment(color=color), make_images(3)

    changed = apply_augmentation(augment, images, choose_draws(augment, **drawn)).numpy()

    for number, image in enumerate(images.numpy() / 255):
        hue, saturation, value = (
            drawn.get(name, [0.0] * 3)[number] * getattr(color, name) for name in ("hue", "saturation", "value")
        )
        for place in np.ndindex(6, 5):
            h, s, v = colorsys.rgb_to_hsv(*image[place])
            shifted = (h + hue) % 1, min(1.0, max(0.0, s + saturation)), min(1.0, max(0.0, v + value))
            assert changed[number][place] == pytest.approx(np.array(colorsys.hsv_to_rgb(*shifted)) * 255, abs=0.05)


def test_shifts_of_colour_have_the_deviations_of_the_recipe() -> None:
    """Of a colour with half of saturation and value no shift is cut off."""
    augment = Augment(color=ColorShift(hue=0.02, saturation=0.04, value=0.06))
    plain = np.array(colorsys.hsv_to_rgb(0.4, 0.5, 0.5)) * 255
    images = torch.from_numpy(plain.round().astype(np.uint8)).expand(1000, 1, 1, 3).contiguous()
    first = np.array(colorsys.rgb_to_hsv(*(images[0, 0, 0].numpy() / 255)))

    changed = apply_augmentation(augment, images, draw(augment, 1000)).numpy()[:, 0, 0] / 255

    shifts = np.array([colorsys.rgb_to_hsv(*pixel) for pixel in changed]) - first
    assert shifts.std(axis=0) == pytest.approx([0.02, 0.04, 0.06], rel=0.1)
    assert np.abs(shifts.mean(axis=0)).max() < 0.01


@pytest.mark.parametrize("noise", [0.03, 0.1])
def test_noise_has_the_deviation_asked_for_as_a_share_of_the_range(noise: float) -> None:
    augment = Augment(noise=noise)
    images = torch.full((10, 40, 40, 1), 128, dtype=torch.uint8)

    added = apply_augmentation(augment, images, draw(augment, 10)) - 128

    assert float(added.std()) == pytest.approx(255 * noise, rel=0.03)
    assert abs(float(added.mean())) < 255 * noise * 0.03
    assert not torch.equal(added[0], added[1])
