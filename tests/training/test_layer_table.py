"""The table of a model's layers."""

import json

import pytest
from training.narrow_models import narrow_model

from oarlock.cli.layers import describe_model
from oarlock_api.v1alpha1.training_job import Model
from oarlock_api.zoo import BUILT_IN_MODELS
from oarlock_trainer.layer_table import list_layers, main
from oarlock_trainer.models import build_model


@pytest.mark.parametrize("name", ["lenet", "unet-small", "centernet-small", "transformer", "lstm"])
def test_the_table_has_every_parameter_once_and_ends_with_the_output(name: str) -> None:
    form = narrow_model(name).form

    layers = list_layers(Model(name=name), form, 7)

    network = build_model(Model(name=name), form, 7)
    assert sum(layer.parameters for layer in layers) == sum(each.numel() for each in network.parameters())
    head = next(layer for layer in layers if layer.name == BUILT_IN_MODELS[name].head)
    assert head.output is not None
    assert 7 in head.output


def test_the_shapes_are_those_of_one_sample(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([json.dumps(describe_model("lenet")), "28x28x1", "10", "0"]) == 0

    layers = json.loads(capsys.readouterr().out)["layers"]
    assert [layers[0][key] for key in ("name", "kind", "output", "parameters")] == [
        "features.0",
        "Conv2d",
        [20, 24, 24],
        520,
    ]


def test_what_does_not_fit_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([json.dumps(describe_model("vgg16")), "28x28x1", "10", "0"]) == 1

    assert "at least 32 by 32 pixels" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("written", "described"),
    [
        ("lenet", {"name": "lenet"}),
        ("timm:vit_tiny", {"timm": {"name": "vit_tiny"}}),
        ("torchvision:resnet18", {"torchvision": {"name": "resnet18"}}),
        ("my_models:build", {"python": {"module": "my_models", "factory": "build"}}),
    ],
)
def test_a_model_is_written_in_one_word(written: str, described: dict[str, object]) -> None:
    assert describe_model(written) == described
    assert Model.from_wire(described)
