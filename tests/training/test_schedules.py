"""Learning-rate schedules and optimizers."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from oarlock_api.v1alpha1.recipe import Optimizer, Schedule
from oarlock_api.v1alpha1.training_job import Model
from oarlock_trainer.errors import ConfigError
from oarlock_trainer.models import SampleForm, build_model
from oarlock_trainer.optimizers import build_optimizer, highest_learning_rate
from oarlock_trainer.schedules import build_schedule


@given(name=st.sampled_from(["cosine", "step", "fixed"]), warmup=st.floats(0, 0.99), steps=st.integers(1, 500))
def test_the_factor_stays_between_zero_and_one_and_warms_up(name: str, warmup: float, steps: int) -> None:
    factor = build_schedule(Schedule(name=name, warmup_fraction=warmup), steps=steps)  # type: ignore[arg-type]

    factors = [factor(step) for step in range(steps)]
    rising = round(warmup * steps)

    assert all(0 < value <= 1 for value in factors)
    assert name == "step" or factors[:rising] == sorted(factors[:rising])


def test_cosine_falls_from_the_highest_rate_to_the_final_fraction() -> None:
    factor = build_schedule(Schedule(warmup_fraction=0.1, final_fraction=0.2), steps=100)

    assert factor(10) == 1.0
    assert factor(55) == pytest.approx(0.6)
    assert factor(99) == pytest.approx(0.2 + 0.8 * 0.5 * (1 + math.cos(math.pi * 89 / 90)))


def test_step_multiplies_by_gamma_at_each_percentage_of_the_run() -> None:
    """DIGITS' default: at 33, 66 and 99 % of the run."""
    factor = build_schedule(Schedule(name="step", warmup_fraction=0), steps=100)  # type: ignore[arg-type]

    assert [factor(step) for step in (0, 32, 33, 65, 66, 98, 99)] == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01, 0.001])


def test_a_schedule_is_refused_when_nothing_computes_it() -> None:
    with pytest.raises(ConfigError, match=r"sigmoid.*not supported yet"):
        build_schedule(Schedule(name="sigmoid"), steps=10)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_norms_and_biases_are_not_decayed(name: str) -> None:
    model = build_model(Model(name="resnet"), SampleForm(shape=(16, 16, 3)), 4)
    optimizer = build_optimizer(Optimizer(name=name, weight_decay=0.3), model, device_type="cpu")  # type: ignore[arg-type]

    decayed, free = optimizer.param_groups
    names = {id(parameter): name for name, parameter in model.named_parameters()}

    assert (decayed["weight_decay"], free["weight_decay"]) == (0.3, 0.0)
    assert all(".bias" in names[id(p)] or "norm" in names[id(p)] or ".1." in names[id(p)] for p in free["params"])
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(names)


def test_defaults_of_the_optimizer_are_those_that_the_api_documents() -> None:
    parameters = torch.nn.Linear(2, 2)
    sgd = build_optimizer(Optimizer(name="sgd"), parameters, device_type="cpu")  # type: ignore[arg-type]
    adamw = build_optimizer(Optimizer(), parameters, device_type="cpu")

    assert (sgd.param_groups[0]["momentum"], sgd.param_groups[0]["weight_decay"]) == (0.9, 0.0005)
    assert adamw.param_groups[0]["weight_decay"] == 0.01
    assert highest_learning_rate(Optimizer(name="sgd")) == 0.05  # type: ignore[arg-type]
    assert highest_learning_rate(Optimizer()) == 0.001


def test_an_optimizer_is_refused_when_nothing_builds_it() -> None:
    with pytest.raises(ConfigError, match=r"muon.*not supported yet"):
        build_optimizer(Optimizer(name="muon"), torch.nn.Linear(2, 2), device_type="cpu")  # type: ignore[arg-type]
