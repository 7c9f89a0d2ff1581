"""Optimizers do the documented updates, go on exactly from a checkpoint, and treat groups of parameters as the recipe says."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from training.documented_updates import DECAY, RATE, UPDATES

from oarlock_api.optimizers import OPTIMIZERS, list_parameters
from oarlock_api.v1alpha1.recipe import Optimizer, ParameterGroup
from oarlock_api.v1alpha1.training_job import Model
from oarlock_trainer.checkpoints.entries import collect_entries, restore_entries
from oarlock_trainer.errors import ConfigError
from oarlock_trainer.models import SampleForm, build_model
from oarlock_trainer.muon import find_hidden_matrices
from oarlock_trainer.optimizers import (
    add_l1_penalty,
    build_optimizer,
    highest_learning_rate,
    set_learning_rate,
)
from oarlock_trainer.parameter_groups import freeze_parameters, freeze_statistics
from oarlock_trainer.state import TrainingState

CURVATURE = (1.0, 0.2)
STEPS = 7


def optimizer_of(name: str, **parameters: Any) -> Optimizer:
    return Optimizer.from_wire({"name": name, **parameters})


def small_model() -> Any:
    """A convolution, norms, a head: every kind of parameter that is treated in its own way."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(2, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 6), nn.Linear(6, 3)
    )
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def take_steps(model: nn.Module, optimizer: torch.optim.Optimizer, count: int, *, seed: int) -> None:
    dice = torch.Generator().manual_seed(seed)
    for _ in range(count):
        loss = model(torch.randn(5, 2, 4, 4, generator=dice)).square().sum()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()


@pytest.mark.parametrize("name", UPDATES)
def test_a_weight_goes_where_the_documented_update_takes_it(name: str) -> None:
    """On a bowl with two curvatures, whose gradient is curvature times weight."""
    update, extra = UPDATES[name]
    layer = nn.Linear(2, 1, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.0, -2.0]]))
    recipe = optimizer_of(name, learningRate=RATE, weightDecay=DECAY, **extra)
    optimizer = build_optimizer(recipe, layer, device_type="cpu")
    for _ in range(STEPS):
        layer.weight.grad = layer.weight.detach() * torch.tensor([CURVATURE])
        optimizer.step()

    expected = [update(w, lambda x, c=c: c * x, STEPS) for w, c in zip((1.0, -2.0), CURVATURE, strict=True)]  # type: ignore[misc]
    assert layer.weight.detach().flatten().tolist() == pytest.approx(expected, rel=1e-4)


def test_muon_turns_a_matrix_by_its_singular_vectors_and_leaves_the_rest_to_adamw() -> None:
    model = small_model()
    before = copy.deepcopy(model.state_dict())
    recipe = optimizer_of("muon", weightDecay=0.0)
    optimizer = build_optimizer(recipe, model, device_type="cpu")
    loss = model(torch.ones(2, 2, 4, 4)).square().sum()
    loss.backward()
    gradient = model[4].weight.grad.clone()
    optimizer.step()

    step = (before["4.weight"] - model[4].weight.detach()) / (0.001 * 0.2 * 16**0.5)
    left, values, right = torch.linalg.svd(gradient, full_matrices=False)
    rank = int((values > 1e-3 * values[0]).sum())
    inside = left[:, :rank].T @ step @ right[:rank].T
    assert inside.diagonal().tolist() == pytest.approx([0.95] * rank, abs=0.3)
    assert (inside - inside.diagonal().diag()).abs().max() < 0.05
    # The first step of Adam is the learning rate along the sign of the gradient.
    moved = (before["5.bias"] - model[5].bias.detach()).abs()
    assert moved.tolist() == pytest.approx([0.001] * 3, rel=1e-3)
    assert {"momentum_buffer"} == set(optimizer.state[model[0].weight])
    assert set(optimizer.state[model[5].weight]) == {"step", "exp_avg", "exp_avg_sq"}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_run_goes_on_bitwise_when_its_state_is_restored(name: str) -> None:
    """Into a fresh optimizer and back out of the table that a checkpoint stores."""
    recipe = optimizer_of(name)
    undisturbed, other = small_model(), small_model()
    straight = build_optimizer(recipe, undisturbed, device_type="cpu")
    take_steps(undisturbed, straight, 3, seed=1)
    table = copy.deepcopy(collect_entries(TrainingState(model=undisturbed, optimizer=straight), rng={}, rank=0))
    take_steps(undisturbed, straight, 3, seed=2)

    resumed = build_optimizer(recipe, other, device_type="cpu")
    restore_entries(table, TrainingState(model=other, optimizer=resumed), rank=0, device=torch.device("cpu"))
    take_steps(other, resumed, 3, seed=2)

    assert all(torch.equal(one, two) for one, two in zip(undisturbed.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize("name", [name for name in OPTIMIZERS if name != "muon"])
def test_norms_and_biases_are_not_decayed(name: str) -> None:
    model = build_model(Model(name="resnet"), SampleForm(shape=(16, 16, 3)), 4)
    optimizer = build_optimizer(optimizer_of(name, weightDecay=0.3), model, device_type="cpu")

    decayed, free = optimizer.param_groups
    names = {id(parameter): name for name, parameter in model.named_parameters()}

    assert (decayed["weight_decay"], free["weight_decay"]) == (0.3, 0.0)
    assert all(".bias" in names[id(p)] or "norm" in names[id(p)] or ".1." in names[id(p)] for p in free["params"])
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(names)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_defaults_are_those_of_the_table(name: str) -> None:
    optimizer = build_optimizer(optimizer_of(name), small_model(), device_type="cpu")
    defaults = list_parameters(optimizer_of(name).name)

    group = optimizer.param_groups[0]
    assert group["lr"] == highest_learning_rate(optimizer_of(name)) == defaults["learningRate"]
    assert group["weight_decay"] == defaults["weightDecay"]


def test_the_l1_penalty_draws_weights_to_zero_and_leaves_biases_alone() -> None:
    layer = nn.Linear(2, 1)
    recipe = optimizer_of("sgd", l1Penalty=0.5, momentum=0.0, weightDecay=0.0, learningRate=1.0)
    optimizer = build_optimizer(recipe, layer, device_type="cpu")
    before = copy.deepcopy(layer)
    for parameter in layer.parameters():
        parameter.grad = torch.full_like(parameter, 0.25)
    add_l1_penalty(optimizer)
    optimizer.step()

    torch.testing.assert_close(layer.weight, before.weight - 0.25 - 0.5 * before.weight.sign())
    torch.testing.assert_close(layer.bias, before.bias - 0.25)


def groups_of(*groups: dict[str, Any]) -> list[ParameterGroup]:
    return [ParameterGroup.from_wire(group) for group in groups]


def test_the_first_matching_group_counts_and_every_rate_follows_the_schedule() -> None:
    model = small_model()
    groups = groups_of({"match": "4.*", "learningRate": 0.01, "weightDecay": 0.2}, {"match": r"[45]\.weight"})
    optimizer = build_optimizer(optimizer_of("sgd", learningRate=0.1), model, device_type="cpu", groups=groups)
    set_learning_rate(optimizer, 0.05)

    def settings(parameter: Tensor) -> tuple[float, float]:
        return next(
            (round(group["lr"], 9), group["weight_decay"])
            for group in optimizer.param_groups
            if any(parameter is own for own in group["params"])
        )

    assert settings(model[4].weight) == settings(model[4].bias) == (0.005, 0.2)
    assert settings(model[5].weight) == settings(model[0].weight) == (0.05, 0.0005)
    assert settings(model[5].bias) == (0.05, 0.0)


def test_frozen_parameters_and_the_statistics_of_their_norms_stay() -> None:
    model = small_model()
    groups = groups_of({"match": "[01].*", "freeze": True})
    freeze_parameters(model, groups)
    freeze_statistics(model)
    optimizer = build_optimizer(optimizer_of("adamw"), model, device_type="cpu", groups=groups)
    before = copy.deepcopy(model.state_dict())
    model.eval()
    model.train()
    take_steps(model, optimizer, 2, seed=1)

    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"4.weight", "4.bias", "5.weight", "5.bias"}
    assert (model[1].training, model[4].training) == (False, True)


@pytest.mark.parametrize(
    ("group", "says"),
    [
        ({"match": "4.wieght"}, r"paramGroups\[1\].match '4.wieght' must match a parameter of the model.*4.weight"),
        ({"match": r"0\.weight"}, "must match a parameter that no group before it takes"),
        ({"match": "[1-9].*", "freeze": True}, "freezes every parameter"),
    ],
)
def test_a_group_is_refused_when_it_does_nothing_or_leaves_nothing(group: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        freeze_parameters(small_model(), groups_of({"match": "0.*", "freeze": True}, group))


def test_a_model_that_freezes_itself_is_not_blamed_on_the_recipe() -> None:
    with pytest.raises(ConfigError, match="all 7 parameters of the model are frozen by itself"):
        freeze_parameters(small_model().requires_grad_(requires_grad=False), [])
    with pytest.raises(ConfigError, match="the model has no parameters"):
        freeze_parameters(nn.ReLU(), [])


def test_muon_is_refused_when_no_hidden_matrix_is_left() -> None:
    with pytest.raises(ConfigError, match="no hidden layer"):
        build_optimizer(optimizer_of("muon"), nn.Linear(2, 2), device_type="cpu")


@pytest.mark.parametrize("name", ["googlenet", "fcn"])
def test_muon_leaves_every_head_to_adamw_when_a_model_has_several(name: str) -> None:
    model = build_model(Model(name=name), SampleForm(shape=(32, 32, 1)), 5)
    heads = {id(value) for path, value in model.named_parameters() if "head" in path.split(".")}

    hidden = find_hidden_matrices(model)

    assert heads
    assert hidden
    assert not heads & {id(value) for value in hidden}
