"""What a detector is trained on, drawn for all boxes at once, is what one box after the other would draw."""

import math

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings
from torch import Tensor

from oarlock_trainer.tasks.heat_maps import draw_targets, heat_losses

CLASSES, HEIGHT, WIDTH = 3, 5, 7


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), boxes=st.sampled_from([1, 2, 12, 70]))
def test_boxes_are_drawn_as_if_one_after_the_other_when_many_share_cells(seed: int, boxes: int) -> None:
    dice = torch.Generator().manual_seed(seed)
    some = torch.rand(2, boxes, 5, generator=dice)
    some[..., 0] = torch.randint(-1, CLASSES, (2, boxes), generator=dice)

    drawn = draw_targets(some, classes=CLASSES, height=HEIGHT, width=WIDTH, extent=(HEIGHT, WIDTH))

    for image in range(2):
        places, is_centre = draw_one_by_one(some[image])
        assert torch.equal(drawn.places[image], places)
        assert torch.equal(drawn.is_centre[image], is_centre)
        together = drawn.heat[image]
        alone = [
            draw_targets(box[None, None], classes=CLASSES, height=HEIGHT, width=WIDTH, extent=(HEIGHT, WIDTH)).heat[0]
            for box in some[image]
        ]
        assert torch.equal(together, torch.stack(alone).amax(dim=0))


def draw_one_by_one(boxes: Tensor) -> tuple[Tensor, Tensor]:
    places, is_centre = torch.zeros(4, HEIGHT, WIDTH), torch.zeros(1, HEIGHT, WIDTH)
    for kind, x, y, wide, high in boxes:
        if kind >= 0:
            across, down = x * WIDTH, y * HEIGHT
            column, row = int(across), int(down)
            places[:, row, column] = torch.stack((wide * WIDTH, high * HEIGHT, across - column, down - row))
            is_centre[:, row, column] = 1
    return places, is_centre


def test_a_peak_is_one_at_its_centre_and_less_around_it() -> None:
    box = torch.tensor([[[1, 0.5, 0.5, 0.9, 0.9]]])

    heat = draw_targets(box, classes=2, height=9, width=9, extent=(9, 9)).heat

    assert heat[0, 0].count_nonzero() == 0
    assert (heat[0, 1] == 1).nonzero().tolist() == [[4, 4]]
    assert 0 < float(heat[0, 1, 4, 5]) < 1


def test_cells_that_are_predicted_well_count_less_when_gamma_is_higher() -> None:
    heat = torch.tensor([0.0, 0.5, 1.0]).view(1, 1, 1, 3)
    shares = torch.tensor([0.2, 0.3, 0.9]).view(1, 1, 1, 3)

    for gamma in (0.0, 2.0, 5.0):
        far, near = (0.2**gamma * math.log(0.8), 0.5**4 * 0.3**gamma * math.log(0.7))
        expected = -(far + near + 0.1**gamma * math.log(0.9))
        assert heat_losses(shares.logit(), heat, gamma=gamma).item() == pytest.approx(expected, rel=1e-5)
