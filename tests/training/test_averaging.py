"""The average of the weights: its values, its way through a checkpoint, and the model that it stands in for."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from oarlock_trainer.averaging import WeightAverage
from oarlock_trainer.checkpoints.entries import collect_entries, restore_entries, select_own_entries
from oarlock_trainer.state import TrainingState


def small_model() -> Any:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))


def train_a_step(model: nn.Module, average: WeightAverage, seed: int) -> None:
    with torch.no_grad():
        dice = torch.Generator().manual_seed(seed)
        model(torch.randn(8, 3, generator=dice))
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=dice))
    average.update()


def values_of(model: nn.Module) -> dict[str, Tensor]:
    return copy.deepcopy(model.state_dict())


def test_the_average_is_the_documented_one_and_holds_statistics_as_well() -> None:
    model = small_model()
    average = WeightAverage(model, decay=0.25)
    expected = values_of(model)
    for step, decay in enumerate((0.1, 2 / 11, 0.25, 0.25)):
        train_a_step(model, average, step)
        live = model.state_dict()
        expected = {
            name: decay * value + (1 - decay) * live[name] if value.is_floating_point() else live[name].clone()
            for name, value in expected.items()
        }

    assert average.values.keys() == expected.keys()
    for name, value in average.values.items():
        torch.testing.assert_close(value, expected[name])
    assert not torch.equal(average.values["1.running_mean"], model[1].running_mean)


def test_buffers_that_are_no_statistics_are_the_models_own_whatever_they_hold() -> None:
    model = small_model()
    model.register_buffer("mask", torch.full((3, 3), float("-inf")).triu(1))
    model.register_buffer("table", torch.zeros(2))
    average = WeightAverage(model, decay=0.9)
    model.table.add_(1)
    train_a_step(model, average, 1)

    assert average.values["mask"].equal(model.mask)
    assert average.values["table"].tolist() == [1, 1]
    assert average.values["1.num_batches_tracked"] == 1


def test_the_model_is_bitwise_what_it_was_when_the_average_has_stood_in_for_it() -> None:
    model = small_model()
    average = WeightAverage(model, decay=0.9)
    train_a_step(model, average, 1)
    before = values_of(model)
    with average.swapped_in():
        inside = values_of(model)

    assert all(torch.equal(value, inside[name]) for name, value in average.values.items())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not torch.equal(inside["0.weight"], before["0.weight"])


@pytest.mark.parametrize("forgets", [False, True], ids=["restored", "control"])
def test_the_average_goes_on_bitwise_when_it_is_restored(forgets: bool) -> None:  # noqa: FBT001  # a parameter
    model, other = small_model(), small_model()
    average, restored = WeightAverage(model, decay=0.9), WeightAverage(other, decay=0.9)
    for step in range(3):
        train_a_step(model, average, step)
    table = copy.deepcopy(collect_entries(make_state(model, average), rng={}, rank=0))
    restore_entries(table, make_state(other, restored), rank=0, device=torch.device("cpu"))
    if forgets:
        restored.updates = 0
    for step in range(3, 6):
        train_a_step(model, average, step)
        train_a_step(other, restored, step)

    same = all(torch.equal(value, average.values[name]) for name, value in restored.values.items())
    assert same is not forgets


def test_averages_are_shared_out_among_the_ranks_that_write_a_checkpoint() -> None:
    model = small_model()
    entries = collect_entries(make_state(model, WeightAverage(model, decay=0.9)), rng={}, rank=0)
    shares = [select_own_entries(entries, model=model, rank=rank, size=2) for rank in range(2)]

    assert set(shares[0]) | set(shares[1]) == set(entries)
    assert not set(shares[0]) & set(shares[1])
    assert "average/1.running_mean" in shares[0]
    assert any(name.startswith("average/") for name in shares[1])


def make_state(model: nn.Module, average: WeightAverage) -> TrainingState:
    return TrainingState(model=model, optimizer=torch.optim.SGD(model.parameters(), lr=0.1), average=average)


class Rescaled(nn.Module):
    """Puts another tensor in a buffer's place, as a running estimate written by hand often does."""

    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)
        self.register_buffer("scale", torch.ones(1))

    def forward(self, inputs: Tensor) -> Tensor:
        self.scale = 0.5 * self.scale + 0.5 * inputs.abs().mean().detach()
        outputs: Tensor = self.layer(inputs / self.scale)
        return outputs


def test_a_buffer_is_that_of_the_model_when_a_module_puts_another_tensor_in_its_place() -> None:
    model = Rescaled()
    average = WeightAverage(model, decay=0.9)
    for _ in range(3):
        model(torch.full((4, 3), 8.0))
        average.update()
    before = float(model.scale)

    with average.swapped_in():
        assert model.scale.equal(average.values["scale"])

    assert float(average.values["scale"]) == float(model.scale) == before > 1
