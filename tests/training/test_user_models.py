"""Models that a function of the user's makes."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from training.small_runs import make_run, read_losses, train_run

from oarlock_api.contract import Cause, Outcome
from oarlock_api.v1alpha1.dataset import Task
from oarlock_api.v1alpha1.training_job import Model, PythonModel
from oarlock_trainer.errors import ConfigError, UserCodeError
from oarlock_trainer.models import SampleForm, build_model
from oarlock_trainer.models.fitting import check_fit

CODE = """
import threading
import torch
from torch import nn

def build(outputs, sample_shape, *, width=4):
    height, width_, channels = sample_shape
    return nn.Sequential(nn.Flatten(), nn.Linear(height * width_ * channels, width), nn.Linear(width, outputs))

def anything(**options):
    return options["made"]

def needs(outputs, depth):
    raise AssertionError

def fails(classes):
    return nn.Linear(classes, "x")

class Looks(nn.Module):
    def __init__(self, outputs):
        super().__init__()
        self.last = nn.Linear(3, outputs)
    def forward(self, images):
        if images.sum().item() > 1e9:
            raise OverflowError
        return self.last(images.mean(dim=(2, 3)))

class Breaks(Looks):
    def forward(self, images):
        return images @ self.last.weight

class Keeps(nn.Module):
    def __init__(self, outputs):
        super().__init__()
        self.norm, self.last = nn.BatchNorm2d(3), nn.LazyLinear(outputs)
        self.attribute, self.listed, self.steps = None, [], nn.Parameter(torch.ones(()) * 2).exp()
        self.register_buffer("scale", None)
    def forward(self, images):
        values = self.norm(images).flatten(1)
        if self.attribute is None:
            self.attribute = self.scale = torch.linspace(0, 1, values.shape[1], device=images.device)
            self.listed.append(self.attribute)
        return self.last(values * self.attribute * self.scale * self.listed[0] + self.steps.detach())

class KeepsAndLocks(Keeps):
    def __init__(self, outputs):
        super().__init__(outputs)
        self.last, self.lock = nn.Linear(60, outputs), threading.Lock()

class Idles(Keeps):
    def __init__(self, outputs):
        super().__init__(outputs)
        self.spare = nn.LazyConv2d(2, 3)
"""
FORM = SampleForm(shape=(4, 5, 3))


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "my_models.py").write_text(CODE)
    (tmp_path / "my_typo.py").write_text("x = 1\ndef build(:\n")
    (tmp_path / "my_import.py").write_text("import there_is_no_such_thing\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("my_models", "my_typo", "my_import"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return tmp_path


def model(factory: str, *, module: str = "my_models", **arguments: Any) -> Model:
    return Model(python=PythonModel(module=module, factory=factory, arguments=arguments))


def test_a_function_gets_what_it_asks_for_by_name(code: Path) -> None:
    network = build_model(model("build", width=9), FORM, 7)

    check_fit(network, model("build"), FORM, outputs=7, task=Task.IMAGE_CLASSIFICATION)
    assert [tuple(parameter.shape) for parameter in network.parameters()] == [(9, 60), (9,), (7, 9), (7,)]


def test_a_model_that_looks_at_values_is_tried_with_values(code: Path) -> None:
    network = build_model(model("Looks"), FORM, 2)

    check_fit(network, model("Looks"), FORM, outputs=2, task=Task.IMAGE_CLASSIFICATION)
    assert network(torch.ones(1, 3, 4, 5)).shape == (1, 2)


@pytest.mark.parametrize("factory", ["Keeps", "KeepsAndLocks"])
def test_a_model_is_what_it_was_when_it_has_been_tried(code: Path, factory: str) -> None:
    """Also one that keeps what its first forward pass made; and one that cannot be copied."""
    network = build_model(model(factory), FORM, 2)
    before = {name: value.clone() for name, value in network.state_dict().items()}

    check_fit(network, model(factory), FORM, outputs=2, task=Task.IMAGE_CLASSIFICATION)
    assert (network.attribute, network.scale, network.listed) == (None, None, [])
    torch.testing.assert_close(dict(network.state_dict()), before, rtol=0, atol=0)
    assert network(torch.ones(2, 3, 4, 5)).shape == (2, 2)


def test_lazy_layers_draw_their_weights_by_the_seed_before_training(code: Path) -> None:
    torch.manual_seed(3)
    network = build_model(model("Keeps"), FORM, 2)
    torch.manual_seed(3)
    layer = nn.Linear(60, 2)

    assert (type(network.last), torch.equal(network.last.weight, layer.weight)) == (nn.Linear, True)
    assert int(network.norm.num_batches_tracked) == 0
    with pytest.raises(ConfigError, match="the lazy layers spare cannot get their sizes"):
        build_model(model("Idles"), FORM, 2)


@pytest.mark.parametrize(
    ("wanted", "says", "remedy"),
    [
        (model("build", module="my_module"), "there is no module my_module", "spec.code.configMap"),
        (model("buidl"), "must name a function of my_models, got 'buidl'", "use one of build, anything"),
        (model("build", widht=9), r"arguments.widht must be a parameter of my_models.build\(outputs", "correct"),
        (model("anything", made=3), "must return a torch.nn.Module, got int", "return the model"),
        (model("needs"), r"must have depth for my_models.needs\(outputs, depth\)", "it gets outputs, classes"),
    ],
)
def test_what_is_wrong_with_the_description_is_said(code: Path, wanted: Model, says: str, remedy: str) -> None:
    with pytest.raises(ConfigError, match=says) as error:
        build_model(wanted, FORM, 2)
    assert remedy in error.value.remedy


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        (model("fails"), r"my_models.fails ended with TypeError: .*my_models.py, line 17, in fails"),
        (model("build", module="my_typo"), r"importing my_typo ended with SyntaxError: .*my_typo.py, line 2"),
        (model("build", module="my_import"), r"ModuleNotFoundError: .*my_import.py, line 1"),
    ],
)
def test_an_exception_in_the_users_code_is_told_with_its_file_and_line(code: Path, wanted: Model, says: str) -> None:
    with pytest.raises(UserCodeError, match=says) as error:
        build_model(wanted, FORM, 2)

    assert error.value.cause is Cause.USER_ERROR


def test_an_exception_in_the_users_forward_pass_is_told_with_its_file_and_line(code: Path) -> None:
    broken = model("Breaks")

    with pytest.raises(
        UserCodeError, match=r"samples of shape \[N, 3, 4, 5\] ended .*my_models.py, line 30, in forward"
    ):
        check_fit(build_model(broken, FORM, 2), broken, FORM, outputs=2, task=Task.IMAGE_CLASSIFICATION)


def test_a_model_with_idle_parameters_trains_alike_on_any_number_of_processes(
    dataset_folder: Path, version: str, tmp_path: Path
) -> None:
    """Bitwise so when it resumes; idle weights get no decay either. It has what no built-in model has: see `own_models`."""
    (tmp_path / "data").symlink_to(dataset_folder / "data")
    odd = {"python": {"module": "training.own_models", "factory": "build_odd"}}
    # Distances do not depend on biases: their gradients are roundings, which adamw would make steps as long as any.
    optimizer = {"name": "sgd", "learningRate": 0.01, "weightDecay": 0.5}
    recipe = {"microBatchSize": 4, "optimizer": optimizer, "loss": {"name": "contrastive"}}
    run = make_run(version, model=odd, steps=8, recipe=recipe)

    stories = [train_run(run, tmp_path, processes=count, name=f"on-{count}") for count in (1, 2)]
    suspended = train_run(run, tmp_path, processes=2, name="resumed", stop_at=2)
    train_run(run, tmp_path, processes=2, name="resumed")

    one, two = (load_file(tmp_path / name / "export" / "model.safetensors") for name in ("on-1", "on-2"))
    torch.testing.assert_close(one, two, rtol=0, atol=1e-5)
    assert all(torch.equal(one[name], two[name]) for name in ("spare.weight", "second.weight"))
    assert suspended.outcome is Outcome.SUSPENDED
    assert read_losses(tmp_path / "resumed") == read_losses(tmp_path / "on-2")
    for story in stories:
        (warning,) = story.facts["warnings"]
        assert warning.startswith("the loss does not depend on spare.weight, spare.bias, second.weight, second.bias: ")
