"""Models of torchvision and timm by name, and whether a model fits is known from shapes."""

import pytest
import torch
from torchvision_operators import install

from oarlock_api.v1alpha1.dataset import Task
from oarlock_api.v1alpha1.training_job import LibraryModel, Model
from oarlock_trainer.errors import ConfigError
from oarlock_trainer.models import SampleForm, build_model
from oarlock_trainer.models.fitting import check_fit
from oarlock_trainer.models.libraries import adapt_channels

install()

GRAY = SampleForm(shape=(32, 48, 1))


def torchvision(name: str) -> Model:
    return Model(torchvision=LibraryModel(name=name))


def timm(name: str) -> Model:
    return Model(timm=LibraryModel(name=name))


@pytest.mark.parametrize(
    ("model", "form"),
    [
        (torchvision("squeezenet1_1"), GRAY),
        (torchvision("mobilenet_v3_small"), SampleForm(shape=(32, 32, 5))),
        (timm("test_resnet.r160_in1k"), GRAY),
        (timm("test_vit"), SampleForm(shape=(64, 32, 3))),
    ],
)
def test_a_library_model_gets_a_head_and_a_first_layer_for_the_data(model: Model, form: SampleForm) -> None:
    network = build_model(model, form, 3)

    check_fit(network, model, form, outputs=3, task=Task.IMAGE_CLASSIFICATION)
    images = torch.randn(2, form.channels, form.height, form.width)
    assert network(images).shape == (2, 3)


def test_a_segmentation_model_of_torchvision_returns_maps_and_while_training_those_of_its_second_head() -> None:
    model = torchvision("fcn_resnet50")
    with torch.device("meta"):
        network = build_model(model, GRAY, 4)
        images = torch.zeros(2, 1, 32, 48)

        main, second = network(images)
        assert main.shape == second.shape == network.eval()(images).shape == (2, 4, 32, 48)
    check_fit(network, model, GRAY, outputs=4, task=Task.SEGMENTATION)


def test_grey_images_give_what_they_gave_as_colour_images() -> None:
    weight, gray = torch.randn(4, 3, 3, 3), torch.randn(2, 1, 8, 8)
    as_colours = torch.nn.functional.conv2d(gray.expand(2, 3, 8, 8), weight)

    torch.testing.assert_close(torch.nn.functional.conv2d(gray, adapt_channels(weight, 1)), as_colours)
    assert adapt_channels(weight, 5).shape == (4, 5, 3, 3)


def test_a_model_that_a_library_lacks_is_refused_with_the_nearest_names() -> None:
    with pytest.raises(ConfigError, match="torchvision has no model 'resnet_50' that classifies or segments") as error:
        build_model(torchvision("resnet_50"), GRAY, 2)
    assert "did you mean resnet50" in error.value.remedy
    with pytest.raises(ConfigError, match="timm has no model 'vit_tinny'"):
        build_model(timm("vit_tinny"), GRAY, 2)
    with pytest.raises(ConfigError, match="fasterrcnn_resnet50_fpn"):
        build_model(torchvision("fasterrcnn_resnet50_fpn"), GRAY, 2)


def test_a_library_that_is_not_installed_is_named_with_the_extra_that_brings_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "timm", None)

    with pytest.raises(ConfigError, match=r"model\.timm needs the package timm") as error:
        build_model(timm("resnet18"), GRAY, 2)
    assert "oarlock[vision]" in error.value.remedy


def test_texts_are_refused_by_models_for_images() -> None:
    with pytest.raises(ConfigError, match=r"models of timm are for images.*\[40\]"):
        build_model(timm("resnet18"), SampleForm(shape=(40,), vocabulary=9), 2)


@pytest.mark.parametrize(
    ("model", "form", "task", "says"),
    [
        (torchvision("squeezenet1_1"), SampleForm(shape=(8, 8, 3)), Task.IMAGE_CLASSIFICATION, r"\[N, 3, 8, 8\]"),
        (timm("test_resnet"), GRAY, Task.SEGMENTATION, r"must return \[N, 3, 32, 48\] .*it returns \[N, 3\]"),
        (timm("test_resnet"), GRAY, Task.OBJECT_DETECTION, r"must return \[N, 3, H/4, W/4\]"),
    ],
)
def test_a_model_that_does_not_fit_is_refused_with_the_shapes(
    model: Model, form: SampleForm, task: Task, says: str
) -> None:
    network = build_model(model, form, 3)

    with pytest.raises(ConfigError, match=says):
        check_fit(network, model, form, outputs=3, task=task)


def test_trying_a_model_changes_nothing_of_it_and_draws_nothing() -> None:
    network = build_model(Model(name="resnet"), GRAY, 3)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    random = torch.get_rng_state()

    check_fit(network, Model(name="resnet"), GRAY, outputs=3, task=Task.IMAGE_CLASSIFICATION)

    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "alexnet", "vgg16"])
def test_built_in_models_have_the_names_and_shapes_of_torchvisions(name: str) -> None:
    from torchvision import models

    form = SampleForm(shape=(224, 224, 3))
    with torch.device("meta"):
        ours, theirs = build_model(Model(name=name), form, 1000), models.get_model(name, weights=None)

    assert {key: value.shape for key, value in ours.state_dict().items()} == {
        key: value.shape for key, value in theirs.state_dict().items()
    }


def test_a_built_in_residual_network_computes_what_torchvisions_does() -> None:
    from torchvision import models

    theirs = models.resnet18(weights=None, num_classes=3).eval()
    ours = build_model(Model(name="resnet18"), SampleForm(shape=(40, 33, 3)), 3).eval()
    ours.load_state_dict(theirs.state_dict())

    images = torch.randn(2, 3, 40, 33)
    torch.testing.assert_close(ours(images), theirs(images))
