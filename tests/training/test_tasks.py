"""Every task: its sums add up however samples are divided, its figures are what they are called, its loss can be learned."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from training.made_datasets import make_task_run, write_task_dataset

from oarlock_api.v1alpha1.dataset import Task as TaskName
from oarlock_api.v1alpha1.recipe import ClassWeights, Loss, LossName
from oarlock_trainer.augmentation.boxes import clip_boxes
from oarlock_trainer.batches import StreamedSamples, place, read_validation
from oarlock_trainer.losses import ClassLoss, weigh_classes
from oarlock_trainer.tasks import Batch, Prepared, Rows, Task, build_task
from oarlock_trainer.tasks.average_precision import compute_average_precision, count_matches
from oarlock_trainer.tasks.heat_maps import decode_boxes, draw_targets

CPU = torch.device("cpu")
CASES: dict[str, tuple[TaskName, dict[str, Any]]] = {
    "classes": (TaskName.IMAGE_CLASSIFICATION, {"loss": {"classWeights": "balanced"}, "augment": {"mixup": 0.4}}),
    "each class alone": (TaskName.IMAGE_CLASSIFICATION, {"loss": {"name": "binaryCrossEntropy"}}),
    "focal": (TaskName.IMAGE_CLASSIFICATION, {"loss": {"name": "focal"}, "augment": {"whitening": True}}),
    "verification": (TaskName.IMAGE_CLASSIFICATION, {"loss": {"name": "contrastive"}}),
    "pixels": (TaskName.SEGMENTATION, {"loss": {"classWeights": "balanced"}, "augment": {"shift": 2}}),
    "overlap": (TaskName.SEGMENTATION, {"loss": {"name": "diceCrossEntropy"}, "augment": {"rotation": 20, "crop": 24}}),
    "hard pixels": (TaskName.SEGMENTATION, {"loss": {"name": "focal"}}),
    "boxes": (TaskName.OBJECT_DETECTION, {"augment": {"flip": "both", "crop": 24, "rescale": 0.1}}),
    "images": (TaskName.IMAGE_TO_IMAGE, {"augment": {"noise": 0.1}, "meanSubtraction": "image"}),
    "texts": (TaskName.TEXT_CLASSIFICATION, {}),
}


class Made:
    """A task over a small data set, and outputs that fit it."""

    def __init__(self, folder: Path, name: str, **changes: Any) -> None:
        kind, recipe = CASES[name]
        recipe = {**recipe, **changes}
        self.dataset = write_task_dataset(folder / name, kind)
        self.task: Task = build_task(make_task_run(self.dataset, model="any", recipe=recipe), self.dataset, device=CPU)
        self.training = StreamedSamples(self.dataset.split("train"), CPU)
        self.validation = StreamedSamples(self.dataset.split("validation"), CPU)

    def read(self, rows: slice, *, step: int = 3) -> Batch:
        ids = np.arange(8, 16)
        partners = self.task.pair(ids, step)
        return Batch(
            rows=self.training.take(ids[rows]),
            partners=None if partners is None else self.training.take(partners[rows]),
            draws=place(self.task.draw(step)[rows], CPU),
            weight=self.task.weigh(ids, step),
        )

    def answer(self, prepared: Prepared, *, seed: int = 0) -> Tensor:
        """Return random outputs, the same for the same inputs."""
        dice = torch.Generator().manual_seed(seed)
        count, side = len(prepared.inputs), self.task.form.shape[0]
        maps = {"pixels": side, "images": side, "boxes": side // 4}
        kind = self.dataset.manifest.task
        form = {TaskName.SEGMENTATION: "pixels", TaskName.IMAGE_TO_IMAGE: "images", TaskName.OBJECT_DETECTION: "boxes"}
        shape = (maps[form[kind]],) * 2 if kind in form else ()
        weights = torch.randn(self.task.outputs, *shape, generator=dice)
        return weights * prepared.inputs.float().flatten(1).mean(dim=1).view(count, *([1] * (1 + len(shape))))


@pytest.fixture(scope="module", params=CASES)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made(tmp_path_factory.mktemp("task"), request.param)


def test_losses_add_up_when_a_batch_is_divided(made: Made) -> None:
    def add_up(rows: slice) -> tuple[float, Tensor]:
        prepared = made.task.prepare(made.read(rows))
        outputs = made.answer(prepared)
        loss = made.task.compute_loss(outputs, prepared.targets)
        return float(loss), made.task.measure_training(loss, outputs, prepared.targets)

    whole, figures = add_up(slice(0, 8))
    parts = [add_up(rows) for rows in (slice(0, 3), slice(3, 5), slice(5, 8))]

    assert sum(loss for loss, _ in parts) == pytest.approx(whole, rel=1e-5)
    assert torch.allclose(torch.stack([part for _, part in parts]).sum(dim=0), figures, rtol=1e-5)
    assert len(figures) == len(made.task.training_quantities)


def test_figures_of_validation_are_the_same_when_it_is_divided(made: Made) -> None:
    def tally(ids: list[int]) -> Tensor:
        prepared = made.task.prepare(read_validation(made.validation, np.array(ids), task=made.task))
        return made.task.tally(made.answer(prepared), prepared.targets)

    whole = tally(list(range(12)))
    divided = tally([0, 1, 2, 3, 4]) + tally([5, 6]) + tally([7, 8, 9, 10, 11])

    assert len(whole) == made.task.tallies
    assert whole.dtype == torch.float64
    assert torch.allclose(whole, divided)
    figures = made.task.summarise(whole.numpy(), 12)
    assert next(iter(figures)) == "loss"
    assert all(np.isfinite(value) for value in figures.values())


def test_losses_of_samples_add_up_to_that_of_the_validation(made: Made) -> None:
    prepared = made.task.prepare(read_validation(made.validation, np.arange(12), task=made.task))
    outputs = made.answer(prepared)

    losses = made.task.sample_losses(outputs, prepared.targets)

    assert losses.shape == (12,)
    assert float(losses.sum()) == pytest.approx(float(made.task.tally(outputs, prepared.targets)[0]), rel=1e-4)


def test_the_loss_falls_when_outputs_follow_its_gradient(made: Made) -> None:
    prepared = made.task.prepare(made.read(slice(0, 8)))
    outputs = made.answer(prepared).requires_grad_()
    before = made.task.compute_loss(outputs, prepared.targets)
    before.backward()
    assert outputs.grad is not None

    after = made.task.compute_loss(outputs.detach() - 0.02 * outputs.grad, prepared.targets)

    assert float(after) < float(before.detach())


def test_a_perfect_answer_has_perfect_figures_when_pixels_are_predicted(tmp_path: Path) -> None:
    made = Made(tmp_path, "pixels")
    prepared = made.task.prepare(read_validation(made.validation, np.arange(12), task=made.task))
    outputs = 20 * torch.nn.functional.one_hot(prepared.targets.long(), 3).permute(0, 3, 1, 2).float()

    figures = made.task.summarise(made.task.tally(outputs, prepared.targets).numpy(), 12)

    assert figures == pytest.approx({"loss": 0, "dice": 1, "iou": 1, "pixelAccuracy": 1}, abs=1e-6)


def test_overlap_is_counted_by_class_when_one_is_mistaken_for_the_background(tmp_path: Path) -> None:
    made = Made(tmp_path, "pixels")
    truth = torch.tensor([[[0, 0, 1, 1], [0, 255, 2, 2]]], dtype=torch.uint8)
    said = torch.tensor([[[0, 0, 0, 1], [0, 1, 2, 2]]])
    outputs = torch.nn.functional.one_hot(said, 3).permute(0, 3, 1, 2).float()

    tallies = made.task.tally(outputs, truth).numpy()
    figures, tables = made.task.summarise(tallies, 1), made.task.tabulate(tallies)

    assert tables.confusion is not None
    assert tables.confusion.tolist() == [[3, 0, 0], [1, 1, 0], [0, 0, 2]]
    assert figures["dice"] == pytest.approx((2 / 3 + 1) / 2)
    assert figures["iou"] == pytest.approx((3 / 4 + 1 / 2 + 1) / 3)


def test_pixels_that_are_ignored_are_neither_right_nor_wrong_while_training(tmp_path: Path) -> None:
    made = Made(tmp_path, "pixels")
    truth = torch.tensor([[[0, 1, 255, 255]], [[255, 255, 255, 255]]], dtype=torch.uint8)
    outputs = torch.nn.functional.one_hot(torch.tensor([[[0, 2, 1, 1]], [[0, 0, 0, 0]]]), 3).permute(0, 3, 1, 2).float()

    figures = made.task.measure_training(torch.tensor(1.0), outputs, truth)

    assert figures.tolist() == [1.0, 0.5 + 1.0]


def test_a_broken_image_has_no_ratio_of_signal_to_noise(tmp_path: Path) -> None:
    task = Made(tmp_path, "images").task

    assert np.isnan(task.summarise(np.array([np.nan] * 3), 4)["peakSignalToNoise"])
    assert task.summarise(np.zeros(3), 4)["peakSignalToNoise"] == 100


def test_true_boxes_are_read_back_when_outputs_are_the_targets(tmp_path: Path) -> None:
    made = Made(tmp_path, "boxes")
    boxes = made.validation.take(np.arange(12)).targets
    targets = draw_targets(boxes, classes=2, height=8, width=8, extent=(8, 8))
    outputs = torch.cat((torch.logit(targets.heat.clamp(1e-4, 1 - 1e-4)), targets.places), dim=1)

    found = decode_boxes(outputs, classes=2, extent=(8, 8))
    precision = compute_average_precision(count_matches(found, boxes, classes=2).numpy(), classes=2)

    for predicted, true in zip(found, boxes, strict=True):
        assert torch.allclose(predicted[:2, 2:].sort(dim=0).values, true[:2, 1:].sort(dim=0).values, atol=1e-4)
    assert precision.tolist() == pytest.approx([1, 1], abs=1e-6)


def test_a_cell_is_four_pixels_to_the_far_edge_when_sides_are_no_multiples_of_that(tmp_path: Path) -> None:
    made = Made(tmp_path, "boxes", augment={"crop": 25})
    at = torch.tensor(
        [[[0, 24.5 / 25, 1 / 2, 4 / 25, 8 / 25]]]
    )  # in the last of 7 cells, whose first pixel is the 24th
    maps = torch.full((1, 6, 7, 7), -9.0)
    maps[0, 0, 3, 6], maps[0, 2:, 3, 6] = 9.0, torch.tensor([1, 2, 0.125, 0.125])

    assert torch.allclose(made.task.predict(maps)[0, 0, 2:], at[0, 0, 1:])
    assert float(made.task.sample_losses(maps, at)) == pytest.approx(0, abs=0.01)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_average_precision_is_that_of_the_ranked_list(seed: int) -> None:
    dice = torch.Generator().manual_seed(seed)
    boxes = torch.cat((torch.zeros(5, 4, 1), torch.rand(5, 4, 4, generator=dice) * 0.5 + 0.2), dim=2)
    scores = (torch.randperm(5 * 6, generator=dice).view(5, 6).float() + 0.5) / 30
    moved = torch.cat((boxes, boxes[:, :2]), dim=1)[:, :, 1:] + 0.15 * torch.randn(5, 6, 4, generator=dice).clamp(-1, 1)
    predicted = torch.cat(
        (torch.zeros(5, 6, 1), scores.sort(dim=1, descending=True).values[..., None], moved.abs()), dim=2
    )

    (precision,) = compute_average_precision(count_matches(predicted, boxes, classes=1).numpy(), classes=1)

    assert precision == pytest.approx(rank_by_hand(predicted, boxes), abs=1e-9)


def test_a_detector_takes_gamma_from_the_recipe_and_two_when_it_gives_none(tmp_path: Path) -> None:
    losses = []
    for number, loss in enumerate(({}, {"focalGamma": 2}, {"focalGamma": 5})):
        made = Made(tmp_path / str(number), "boxes", loss=loss)
        prepared = made.task.prepare(made.read(slice(None)))
        losses.append(made.task.compute_loss(made.answer(prepared), prepared.targets).item())

    assert losses[0] == losses[1] > losses[2]


def test_a_box_counts_as_not_said_when_its_score_is_zero() -> None:
    box = torch.tensor([0.5, 0.5, 0.4, 0.4])
    misplaced = torch.tensor([0, 0.9, 0.1, 0.1, 0.1, 0.1])
    suppressed = torch.cat((torch.zeros(2), box))
    true = torch.cat((torch.zeros(1), box))[None, None]

    (precision,) = compute_average_precision(
        count_matches(torch.stack((misplaced, suppressed))[None], true, classes=1).numpy(), classes=1
    )

    assert precision == 0


def rank_by_hand(predicted: Tensor, boxes: Tensor) -> float:
    """Walk down the list of all predictions, image by image and box by box."""
    hits, taken = [], set()
    for _score, image, rank in sorted(
        ((float(row[1]), image, rank) for image, rows in enumerate(predicted) for rank, row in enumerate(rows)),
        reverse=True,
    ):
        overlaps = [
            (overlap(predicted[image, rank, 2:], box[1:]), number)
            for number, box in enumerate(boxes[image])
            if (image, number) not in taken
        ]
        best, number = max(overlaps, default=(0.0, -1))
        hits.append(best >= 0.5)
        if hits[-1]:
            taken.add((image, number))
    right = np.cumsum(hits)
    precision = right / np.arange(1, len(hits) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float((envelope * hits).sum() / (boxes.shape[0] * boxes.shape[1]))


def overlap(first: Tensor, second: Tensor) -> float:
    low = torch.maximum(first[:2] - first[2:] / 2, second[:2] - second[2:] / 2)
    high = torch.minimum(first[:2] + first[2:] / 2, second[:2] + second[2:] / 2)
    both = float((high - low).clamp(min=0).prod())
    return both / (float(first[2:].prod()) + float(second[2:].prod()) - both)


def test_boxes_are_cut_off_at_the_edge_and_dropped_when_their_centre_is_outside() -> None:
    boxes = torch.tensor([[[1.0, 0.05, 0.5, 0.2, 0.2], [1.0, 1.1, 0.5, 0.4, 0.2]]])

    clipped = clip_boxes(boxes)

    assert torch.allclose(clipped[0, 0], torch.tensor([1.0, 0.075, 0.5, 0.15, 0.2]))
    assert clipped[0, 1, 0] == -1


def test_rare_classes_weigh_more_when_classes_are_balanced() -> None:
    weights = weigh_classes(Loss(class_weights=ClassWeights.BALANCED), classes=["a", "b", "c"], counts=[90, 10, 0])

    assert weights is not None
    assert weights.tolist() == pytest.approx([100 / 180, 5, 0])


@pytest.mark.parametrize("name", [LossName.CROSS_ENTROPY, LossName.FOCAL])
def test_shares_of_one_class_have_the_loss_of_the_class(name: LossName) -> None:
    balanced = Loss(name=name, class_weights=ClassWeights.BALANCED)
    loss = ClassLoss(balanced, classes=["a", "b", "c"], class_counts=[3, 1, 2], device=CPU)
    outputs, classes = torch.randn(7, 3), torch.tensor([0, 1, 2, 0, 1, 2, 0])

    by_share = loss.add_up(outputs, torch.nn.functional.one_hot(classes, 3).float())

    assert float(by_share) == pytest.approx(float(loss.add_up(outputs, classes)), rel=1e-5)


def test_auxiliary_heads_add_a_share_of_their_loss() -> None:
    loss = ClassLoss(Loss(), classes=["a", "b"], class_counts=[1, 1], device=CPU)
    outputs, classes = torch.randn(4, 2), torch.tensor([0, 1, 1, 0])

    assert float(loss.add_up((outputs, outputs), classes)) == pytest.approx(1.3 * float(loss.add_up(outputs, classes)))


def test_half_of_the_pairs_are_of_one_class_and_stay_the_same_in_every_validation(tmp_path: Path) -> None:
    made = Made(tmp_path, "verification")
    ids = np.arange(12)
    labels = made.dataset.split("validation").targets(ids)

    pairs = made.task.pair(ids, None)
    several = [made.task.pair(np.arange(24), step) for step in range(20)]

    assert pairs is not None
    assert np.array_equal(made.task.pair(ids[5:9], None), pairs[5:9])
    assert 1 < (labels[pairs] == labels).sum() < 11
    training = made.dataset.split("train").targets(np.arange(24))
    same = np.mean([training[partners] == training for partners in several if partners is not None])
    assert 0.4 < same < 0.6


def test_samples_are_rows_that_can_be_cut() -> None:
    rows = Rows(samples=torch.arange(6).view(3, 2), targets=torch.arange(3))
    batch = Batch(rows=rows, draws=torch.zeros(3, 1), weight=3)

    parts = list(batch.split(2))

    assert [len(part.rows) for part, _ in parts] == [1, 2]
    assert [is_last for _, is_last in parts] == [False, True]
