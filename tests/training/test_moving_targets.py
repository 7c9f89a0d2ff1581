"""Masks and boxes go where their images go; noise, colour and mixtures are what they say they are."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from oarlock_api.v1alpha1.recipe import Augment, ColorShift, Flip, QuadRotation, RandAugment
from oarlock_trainer.augmentation import (
    Draws,
    apply_augmentation,
    crop_centre,
    move_boxes,
    move_images,
    move_masks,
)
from oarlock_trainer.augmentation.draws import Drawn
from oarlock_trainer.augmentation.mixing import compute_beta_quantiles, mix_classes, mix_images, pair_samples
from oarlock_trainer.augmentation.photometry import make_noise
from oarlock_trainer.augmentation.rand_augment import OPERATIONS
from oarlock_trainer.datasets.columns import IGNORED_PIXEL as IGNORED

SIDE = 16


def draw(augment: Augment, samples: int, *, seed: int = 0, step: int = 0) -> Tensor:
    return torch.from_numpy(Draws(augment, seed=seed, samples=samples).of_step(step))


whole_pixel_changes = st.builds(
    Augment,
    shift=st.integers(0, 5),
    flip=st.sampled_from(Flip),
    quad_rotation=st.sampled_from(QuadRotation),
    crop=st.none() | st.integers(5, SIDE),
)


@given(augment=whole_pixel_changes, seed=st.integers(0, 99))
def test_masks_move_as_their_images_do_and_what_is_uncovered_is_ignored(augment: Augment, seed: int) -> None:
    masks = torch.randint(1, 200, (6, SIDE, SIDE), dtype=torch.uint8)
    draws = draw(augment, 6, seed=seed)

    images = move_images(augment, masks[..., None], draws)[..., 0]
    moved = move_masks(augment, masks, draws)

    assert torch.equal(moved, torch.where(images == 0, torch.full_like(images, IGNORED), images))


def test_masks_keep_whole_classes_when_images_are_turned_by_any_angle() -> None:
    augment = Augment(rotation=45, rescale=0.2)
    masks = torch.randint(0, 3, (8, 33, 33), dtype=torch.uint8)

    moved = move_masks(augment, masks, draw(augment, 8))

    assert set(moved.unique().tolist()) == {0, 1, 2, IGNORED}
    assert torch.equal(moved[:, 16, 16], masks[:, 16, 16])  # the centre stays where it is


@given(augment=whole_pixel_changes, seed=st.integers(0, 99), corner=st.tuples(st.integers(3, 8), st.integers(3, 8)))
def test_boxes_hold_what_they_held_when_their_images_move(augment: Augment, seed: int, corner: tuple[int, int]) -> None:
    top, left = corner
    images = torch.zeros(4, SIDE, SIDE, 1, dtype=torch.uint8)
    images[:, top : top + 3, left : left + 5] = 255
    box = [0.0, (left + 2.5) / SIDE, (top + 1.5) / SIDE, 5 / SIDE, 3 / SIDE]
    draws = draw(augment, 4, seed=seed)

    boxes = move_boxes(augment, torch.tensor([[box]]).repeat(4, 1, 1), Drawn(augment, draws), height=SIDE, width=SIDE)

    for image, (kind, across, down, wide, high) in zip(move_images(augment, images, draws), boxes[:, 0], strict=True):
        rows, columns = torch.nonzero(image[..., 0], as_tuple=True)
        if kind < 0:
            continue  # its centre is outside: at most a part of it is still to be seen
        height, width = image.shape[:2]
        assert torch.isclose((across - wide / 2) * width, columns.min().float(), atol=1e-4)
        assert torch.isclose((across + wide / 2) * width, columns.max() + 1.0, atol=1e-4)
        assert torch.isclose((down - high / 2) * height, rows.min().float(), atol=1e-4)
        assert torch.isclose((down + high / 2) * height, rows.max() + 1.0, atol=1e-4)


def test_boxes_grow_with_their_images_when_these_are_enlarged() -> None:
    augment = Augment(rescale=0.2)
    images = torch.zeros(8, 64, 64, 1, dtype=torch.uint8)
    images[:, 24:40, 20:44] = 255
    draws = draw(augment, 8, seed=3)
    boxes = move_boxes(
        augment,
        torch.tensor([[[1.0, 0.5, 0.5, 24 / 64, 16 / 64]]]).repeat(8, 1, 1),
        Drawn(augment, draws),
        height=64,
        width=64,
    )

    bright = (move_images(augment, images, draws)[..., 0] > 127).float().sum(dim=(1, 2))

    assert torch.allclose(boxes[:, 0, 3] * boxes[:, 0, 4] * 64 * 64, bright, rtol=0.15)
    assert bright.std() > 0


def test_validation_sees_the_centre_when_training_sees_random_crops() -> None:
    images = torch.arange(36).view(1, 6, 6, 1)

    assert crop_centre(Augment(crop=2), images)[0, :, :, 0].tolist() == [[14, 15], [20, 21]]


@settings(max_examples=20)
@given(
    share=st.sampled_from([slice(0, 3), slice(3, 8), slice(2, 5)]),
    augment=st.sampled_from(
        [
            Augment(noise=0.1, contrast=0.2, color=ColorShift(), rotation=20, rescale=0.1),
            Augment(rand_augment=RandAugment(operations=3, magnitude=15), crop=9),
        ]
    ),
)
def test_a_sample_is_changed_the_same_way_whoever_holds_it(share: slice, augment: Augment) -> None:
    images = torch.randint(0, 256, (8, 12, 12, 3), dtype=torch.uint8)
    draws = draw(augment, 8, step=5)

    alone = apply_augmentation(augment, images[share], draws[share])

    assert torch.allclose(alone, apply_augmentation(augment, images, draws)[share], atol=1e-3)


def test_noise_is_normal_and_of_the_deviation_asked_for() -> None:
    noise = make_noise(torch.rand(20), torch.Size((20, 50, 50, 2)))

    assert abs(float(noise.mean())) < 0.02
    assert abs(float(noise.std()) - 1) < 0.02
    assert 0.66 < float((noise.abs() < 1).float().mean()) < 0.71
    assert not torch.equal(noise[0], noise[1])


def test_colours_stay_when_hue_saturation_and_value_shift_by_nothing() -> None:
    images = torch.randint(0, 256, (5, 9, 9, 3), dtype=torch.uint8)
    augment = Augment(color=ColorShift(hue=0, saturation=0, value=0))

    assert torch.allclose(apply_augmentation(augment, images, draw(augment, 5)), images.float(), atol=0.01)


def test_colours_change_but_stay_in_range_when_they_shift() -> None:
    images = torch.randint(0, 256, (5, 9, 9, 3), dtype=torch.uint8)
    augment = Augment(color=ColorShift(hue=0.2, saturation=0.5, value=0.5))

    changed = apply_augmentation(augment, images, draw(augment, 5))

    assert 0 <= float(changed.min()) <= float(changed.max()) <= 255
    assert (changed - images).abs().mean() > 10


def test_every_operation_of_rand_augment_occurs_and_only_identity_leaves_images_alone() -> None:
    augment = Augment(rand_augment=RandAugment(operations=1, magnitude=20))
    images = torch.randint(20, 200, (400, 8, 8, 3), dtype=torch.uint8)
    draws = draw(augment, 400)
    chosen = (Drawn(augment, draws)["operation0"] * len(OPERATIONS)).long()

    changed = (apply_augmentation(augment, images, draws) - images).abs().amax(dim=(1, 2, 3)) > 0.5

    assert set(chosen.tolist()) == set(range(len(OPERATIONS)))
    identity = chosen == OPERATIONS.index("identity")
    assert not changed[identity].any()
    assert (
        changed[~identity].float().mean() > 0.9
    )  # a flip of sign can hide a change of brightness, a crop of range another


@pytest.mark.parametrize("alpha", [0.2, 0.5, 1.0, 4.0])
def test_shares_are_drawn_from_the_beta_distribution(alpha: float) -> None:
    quantiles = compute_beta_quantiles(alpha)

    assert np.all(np.diff(quantiles) >= 0)
    assert abs(quantiles.mean() - 0.5) < 0.005
    assert abs(quantiles.var() - 1 / (4 * (2 * alpha + 1))) < 0.005


@pytest.mark.parametrize("augment", [Augment(mixup=0.4), Augment(cutmix=1.0), Augment(mixup=0.4, cutmix=1.0)])
def test_targets_are_mixed_by_the_share_of_the_pixels_when_images_are_mixed(augment: Augment) -> None:
    images, others = torch.ones(64, 10, 14, 1), torch.zeros(64, 10, 14, 1)
    draws = draw(augment, 64)

    mixed, own = mix_images(augment, images, others, Drawn(augment, draws))
    classes = mix_classes(torch.zeros(64, dtype=torch.long), torch.ones(64, dtype=torch.long), own, count=3)

    assert torch.allclose(mixed.mean(dim=(1, 2, 3)), own, atol=1e-5)
    assert torch.allclose(classes[:, 0], own)
    assert torch.allclose(classes.sum(dim=1), torch.ones(64))
    assert own.std() > 0.05


def test_partners_are_a_permutation_of_the_step_whatever_the_step() -> None:
    ids = np.arange(100, 150)

    first, second = (pair_samples(ids, seed=1, step=step) for step in (0, 1))

    assert sorted(first) == sorted(second) == list(ids)
    assert list(first) != list(second)
