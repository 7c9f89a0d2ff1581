"""Crops, quarter turns, turns and enlargements do what the recipe says, as Pillow and numpy would, to images and masks alike."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from training.chosen_draws import choose_draws, draw

from oarlock_api.v1alpha1.recipe import Augment, QuadRotation
from oarlock_trainer.augmentation import apply_augmentation, crop_centre, move_boxes, move_images, move_masks
from oarlock_trainer.augmentation.draws import Drawn
from oarlock_trainer.datasets.columns import IGNORED_PIXEL

SHAPES = [(40, 40), (32, 48)]
"""Of images; one is not square, in which a turn must keep angles."""


def smooth_image(height: int, width: int) -> NDArray[np.uint8]:
    """Return a slanted wave without any symmetry: interpolated by anybody it is nearly the same."""
    down, right = np.mgrid[:height, :width]
    wave = 128 + 60 * np.sin(right / 5 + down / 11) + 50 * np.cos(down / 6) + right / 2
    image: NDArray[np.uint8] = wave.clip(0, 255).astype(np.uint8)
    return image


def compare_inside(found: NDArray[np.float32], expected: NDArray[np.uint8], covered: NDArray[np.bool_]) -> float:
    """Return the mean difference where both lie inside of the source: each treats the last row of pixels in its own way."""
    assert covered.mean() > 0.3
    return float(np.abs(found - expected)[covered].mean())


@pytest.mark.parametrize(("height", "width"), SHAPES)
def test_an_image_is_turned_by_as_many_degrees_as_the_draw_says(height: int, width: int) -> None:
    augment = Augment(rotation=40)
    image = smooth_image(height, width)
    draws = choose_draws(augment, angle=[0.0, 0.25, 0.5, 0.75])

    turned = apply_augmentation(augment, torch.from_numpy(image)[None, ..., None].repeat(4, 1, 1, 1), draws)

    for result, degrees in zip(turned.numpy()[..., 0], (-40, -20, 0, 20), strict=True):
        reference, inside = (
            np.asarray(Image.fromarray(source).rotate(degrees, Image.Resampling.BILINEAR))
            for source in (image, np.pad(np.full((height - 4, width - 4), 255, np.uint8), 2))
        )
        assert compare_inside(result, reference, inside == 255) < 1
    assert float(turned[0, 0, 0]) == 0  # a corner that nothing covers is black


def test_the_angles_that_a_run_draws_reach_from_one_side_to_the_other() -> None:
    """One bright pixel beside the centre goes around it: its direction is the angle."""
    augment = Augment(rotation=60)
    images = torch.zeros(400, 41, 41, 1, dtype=torch.uint8)
    images[:, 19:22, 34:37] = 255
    moved = move_images(augment, images, draw(augment, 400))[..., 0]

    places = torch.arange(41) - 20.0
    down, right = (moved * places[:, None]).sum(dim=(1, 2)), (moved * places).sum(dim=(1, 2))
    degrees = torch.rad2deg(torch.atan2(-down, right))

    assert -60.5 < float(degrees.min()) < -57
    assert 57 < float(degrees.max()) < 60.5
    assert abs(float(degrees.mean())) < 6
    assert float(degrees.std()) == pytest.approx(120 / 12**0.5, rel=0.1)


@pytest.mark.parametrize(("height", "width"), SHAPES)
def test_an_image_is_enlarged_by_the_factor_that_the_draw_says(height: int, width: int) -> None:
    augment = Augment(rescale=0.25)
    image = smooth_image(height, width)
    draws = choose_draws(augment, scale=[-1.0, 0.0, 1.0, -9.0])

    scaled = apply_augmentation(augment, torch.from_numpy(image)[None, ..., None].repeat(4, 1, 1, 1), draws)

    for result, factor in zip(scaled.numpy()[..., 0], (0.75, 1, 1.25, 0.2), strict=True):
        across, down = ((1 - 1 / factor) / 2 * side for side in (width, height))
        how = (Image.Transform.AFFINE, (1 / factor, 0, across, 0, 1 / factor, down), Image.Resampling.BILINEAR)
        reference, inside = (
            np.asarray(Image.fromarray(source).transform((width, height), *how))
            for source in (image, np.pad(np.full((height - 4, width - 4), 255, np.uint8), 2))
        )
        differs = np.abs(result - reference)[inside == 255]
        assert differs.size > 0.02 * height * width
        assert float(differs.mean()) < 1


def paint_letter(side: int = 48) -> tuple[Tensor, Tensor]:
    """Return an image of a bold letter F, which no turn or mirror leaves as it was, and its mask."""
    mask = torch.zeros(side, side, dtype=torch.uint8)
    mask[8:40, 10:18] = mask[8:16, 10:34] = mask[21:28, 10:28] = 1
    return 200 * mask, mask


@pytest.mark.parametrize(
    "augment",
    [
        Augment(rotation=180),
        Augment(rescale=0.4),
        Augment(rotation=30, rescale=0.2, shift=6, crop=40, quad_rotation=QuadRotation.ALL),
    ],
    ids=["turned", "enlarged", "all at once"],
)
def test_a_mask_follows_its_image_when_pixels_are_interpolated(augment: Augment) -> None:
    image, mask = paint_letter()
    draws = draw(augment, 16)

    images = move_images(augment, image[None, ..., None].repeat(16, 1, 1, 1), draws)[..., 0]
    masks = move_masks(augment, mask[None].repeat(16, 1, 1), draws)

    # Where the image shows the letter or its background unblended, the mask says the same; blended pixels may be either.
    assert set(masks[images > 199].unique().tolist()) == {1}
    assert set(masks[images < 1].unique().tolist()) <= {0, IGNORED_PIXEL}
    still_there = (images > 199).sum(dim=(1, 2)) > 100
    assert still_there.float().mean() > 0.8
    moved = (masks != crop_centre(augment, mask[None])).float()
    assert (moved.mean(dim=(1, 2)) > 0.02).float().mean() > 0.8


def test_what_a_turn_uncovers_is_ignored_in_a_mask() -> None:
    augment = Augment(rotation=90)
    masks = move_masks(augment, torch.ones(1, 21, 21, dtype=torch.uint8), choose_draws(augment, angle=[0.75]))

    assert masks[0, 0, 0] == masks[0, 20, 20] == masks[0, 0, 20] == masks[0, 20, 0] == IGNORED_PIXEL
    assert masks[0, 10].unique().tolist() == [1]


def test_a_box_holds_what_it_held_when_its_image_is_enlarged() -> None:
    augment = Augment(rescale=0.25)
    images = torch.zeros(3, 64, 64, 1, dtype=torch.uint8)
    images[:, 20:30, 26:46] = 255
    draws = choose_draws(augment, scale=[-1.0, 0.0, 1.0])
    box = torch.tensor([[[1.0, 36 / 64, 25 / 64, 20 / 64, 10 / 64]]])

    boxes = move_boxes(augment, box.repeat(3, 1, 1), Drawn(augment, draws), height=64, width=64)

    for image, (_, across, down, wide, high) in zip(move_images(augment, images, draws), boxes[:, 0], strict=True):
        rows, columns = (torch.nonzero(image[..., 0] > 127)[:, axis].float() for axis in (0, 1))
        edges = torch.stack((columns.min(), columns.max() + 1, rows.min(), rows.max() + 1)) / 64
        found = torch.stack((across - wide / 2, across + wide / 2, down - high / 2, down + high / 2))
        assert torch.allclose(found, edges, atol=1 / 64)
    assert boxes[:, 0, 3].tolist() == pytest.approx([15 / 64, 20 / 64, 25 / 64])


def test_crops_begin_at_every_row_and_column_equally_often() -> None:
    augment = Augment(crop=5)
    numbers = torch.arange(8 * 7, dtype=torch.uint8).view(8, 7)

    crops = apply_augmentation(augment, numbers[None, ..., None].repeat(1200, 1, 1, 1), draw(augment, 1200))[..., 0]

    counts = torch.zeros(4, 3)
    for crop in crops:
        top, left = divmod(int(crop[0, 0]), 7)
        assert torch.equal(crop, numbers[top : top + 5, left : left + 5])
        counts[top, left] += 1
    assert 60 < int(counts.min()) <= int(counts.max()) < 140  # 100 expected of each


@pytest.mark.parametrize(
    ("turn", "quarters", "shape"),
    [
        (QuadRotation.TURN_90, (0, 1, 3), (5, 5)),
        (QuadRotation.TURN_180, (0, 2), (4, 6)),
        (QuadRotation.ALL, (0, 1, 2, 3), (5, 5)),
    ],
)
def test_all_quarter_turns_asked_for_occur_equally_often_and_no_other(
    turn: QuadRotation, quarters: tuple[int, ...], shape: tuple[int, int]
) -> None:
    augment = Augment(quad_rotation=turn)
    image = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)

    images = torch.from_numpy(image)[None, ..., None].repeat(600, 1, 1, 1)
    turned = apply_augmentation(augment, images, draw(augment, 600)).numpy()[..., 0]

    counts = [sum(np.array_equal(result, np.rot90(image, number)) for result in turned) for number in quarters]
    assert sum(counts) == 600
    assert all(abs(count - 600 / len(quarters)) < 60 for count in counts)
