"""The built-in models."""

import json
from pathlib import Path

import pytest
import torch
from training.golden_losses import GOLDEN_FILE, MODELS, compute_losses

from oarlock_api.v1alpha1.training_job import LibraryModel, Model
from oarlock_api.zoo import BUILT_IN_MODELS
from oarlock_trainer.errors import ConfigError
from oarlock_trainer.models import SampleForm, build_model


def test_every_model_of_the_api_can_be_built_and_no_other() -> None:
    assert set(MODELS) == set(BUILT_IN_MODELS)
    with pytest.raises(ConfigError, match="built-in"):
        build_model(Model(timm=LibraryModel(name="resnet18")), SampleForm(shape=(28, 28, 1)), 10)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("shape", [(28, 28, 1), (32, 32, 3), (17, 40, 3)])
def test_a_model_fits_samples_of_any_size_and_channels(name: str, shape: tuple[int, int, int]) -> None:
    height, width, channels = shape
    model = build_model(Model(name=name), SampleForm(shape=shape), 7)

    assert model(torch.zeros(2, channels, height, width)).shape == (2, 7)
    assert "head.weight" in dict(model.named_parameters())


@pytest.mark.parametrize("name", ["lenet", "resnet"])
def test_samples_that_are_too_small_are_refused_by_their_shape(name: str) -> None:
    least = BUILT_IN_MODELS[name].min_side
    build_model(Model(name=name), SampleForm(shape=(least, least, 1)), 2)(torch.zeros(2, 1, least, least))

    with pytest.raises(ConfigError, match=rf"at least {least} by {least} pixels.*{least - 1} by {least}") as error:
        build_model(Model(name=name), SampleForm(shape=(least - 1, least, 1)), 2)

    assert "image.width" in error.value.remedy


@pytest.mark.parametrize("name", MODELS)
def test_losses_are_the_golden_ones(name: str, dataset_folder: Path, version: str, tmp_path: Path) -> None:
    """Within 0.2 %: other processors and other versions of torch add up in another order, which 20 steps amplify.

    What this is to catch, another order of samples, another augmentation, initialisation, schedule or loss, shows in the
    first digits.
    """
    (tmp_path / "data").symlink_to(dataset_folder / "data")
    golden = json.loads(GOLDEN_FILE.read_text())[name]

    losses = compute_losses(name, tmp_path, version)

    assert losses == pytest.approx(golden, rel=2e-3)
    assert losses[-1] < losses[0]
