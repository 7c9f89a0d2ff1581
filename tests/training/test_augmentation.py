"""Augmentation and normalisation, compared with what one would write for a single image."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from oarlock_api.v1alpha1.recipe import Augment, Flip
from oarlock_trainer.augmentation import Draws, apply_augmentation


def shift_one(image: NDArray[np.uint8], down: float, right: float) -> NDArray[np.uint8]:
    """Move one image, pixel by pixel."""
    moved = np.zeros_like(image)
    height, width, _ = image.shape
    for y in range(height):
        for x in range(width):
            from_y, from_x = y - int(down), x - int(right)
            if 0 <= from_y < height and 0 <= from_x < width:
                moved[y, x] = image[from_y, from_x]
    return moved


@given(
    height=st.integers(1, 7),
    width=st.integers(1, 7),
    channels=st.sampled_from([1, 3]),
    shift=st.integers(1, 9),
    seed=st.integers(0, 99),
)
def test_images_are_shifted_as_drawn_and_what_is_uncovered_is_black(
    height: int, width: int, channels: int, shift: int, seed: int
) -> None:
    images = np.random.default_rng(seed).integers(1, 256, (5, height, width, channels)).astype(np.uint8)
    augment = Augment(shift=shift)
    draws = Draws(augment, seed=seed, samples=5).of_step(0)

    shifted = apply_augmentation(augment, torch.from_numpy(images), torch.from_numpy(draws)).numpy()

    expected = [shift_one(image, down, right) for image, (down, right, _, _) in zip(images, draws, strict=True)]
    assert np.array_equal(shifted, np.stack(expected))


@pytest.mark.parametrize(
    ("flip", "axes"), [(Flip.HORIZONTAL, {3: 1}), (Flip.VERTICAL, {2: 0}), (Flip.BOTH, {2: 0, 3: 1})]
)
def test_about_half_of_the_images_are_mirrored_along_the_axes_asked_for(flip: Flip, axes: dict[int, int]) -> None:
    images = np.random.default_rng(0).integers(0, 256, (400, 4, 6, 1)).astype(np.uint8)
    augment = Augment(flip=flip)
    draws = Draws(augment, seed=1, samples=400).of_step(2)

    mirrored = apply_augmentation(augment, torch.from_numpy(images), torch.from_numpy(draws)).numpy()

    expected = [
        np.flip(image, [axis for column, axis in axes.items() if row[column]])
        for image, row in zip(images, draws, strict=True)
    ]
    assert np.array_equal(mirrored, np.stack(expected))
    for column in (2, 3):
        assert bool(150 < draws[:, column].sum() < 250) == (column in axes)


def test_all_shifts_occur_and_no_larger_one() -> None:
    draws = Draws(Augment(shift=2), seed=0, samples=1000).of_step(0)

    assert set(draws[:, 0]) == set(draws[:, 1]) == {-2, -1, 0, 1, 2}


def test_images_stay_as_they_are_when_nothing_is_asked_for() -> None:
    images = torch.randint(0, 256, (3, 4, 4, 1), dtype=torch.uint8)
    draws = torch.from_numpy(Draws(Augment(), seed=0, samples=3).of_step(0))

    assert apply_augmentation(Augment(), images, draws) is images
