"""The built-in models."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from training.golden_losses import GOLDEN_FILE, STEPS, THROUGH_THE_LOOP, compute_bare_losses, compute_losses
from training.narrow_models import narrow_model

from oarlock_api.v1alpha1.training_job import Model
from oarlock_api.zoo import BUILT_IN_MODELS
from oarlock_trainer.errors import ConfigError
from oarlock_trainer.models import BUILDERS, SampleForm, build_model

NAMES = tuple(BUILT_IN_MODELS)
OF_IMAGES = tuple(name for name in NAMES if not BUILT_IN_MODELS[name].reads_text)
OF_TEXTS = tuple(name for name in NAMES if BUILT_IN_MODELS[name].reads_text)
NOT_DETERMINISTIC_ON_CUDA = (
    *("adaptive_avg_pool", "adaptive_max_pool", "fractional_max_pool", "avg_pool3d", "max_unpool", "reflection_pad"),
    *("upsample_linear", "upsample_bilinear", "upsample_bicubic", "upsample_trilinear", "grid_sampler", "nll_loss2d"),
    *("ctc_loss", "histc", "bincount", "median", "cumsum", "put_"),
)
"""As `torch.use_deterministic_algorithms` lists them."""

COMPARED_STEPS = {"googlenet": 2}
"""Twenty layers with batch norm and no shortcut: the gradients of its first steps are so steep that rounding grows a
hundredfold in each. Of all others, losses in float32 and in float64 are the same to five digits after twenty steps."""


class Operations(TorchDispatchMode):
    """Notes which operations run, forwards and backwards."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.add(func.name())
        return func(*args, **(kwargs or {}))


def test_every_model_of_the_api_can_be_built_and_no_other() -> None:
    assert set(BUILDERS) == set(BUILT_IN_MODELS)
    with pytest.raises(ConfigError, match="lenet5"):
        build_model(Model(name="lenet5"), SampleForm(shape=(28, 28, 1)), 10)


@pytest.mark.parametrize("name", NAMES)
def test_a_model_fits_samples_of_the_least_size_and_of_odd_ones(name: str) -> None:
    for side in (None, 67):
        narrow = narrow_model(name, side=side, channels=1 if side else 3)
        network = narrow.build()

        with Operations() as operations:
            outputs = network(narrow.make_inputs())
            main, *auxiliary = outputs if isinstance(outputs, tuple) else (outputs,)
            (main.sum() + sum(each.sum() for each in auxiliary)).backward()
        assert main.shape == narrow.output_shape()
        assert all(each.shape == main.shape for each in auxiliary)
        assert not [each for each in operations.names if any(bad in each for bad in NOT_DETERMINISTIC_ON_CUDA)]
        assert all(parameter.grad is not None for parameter in network.parameters())
        assert network.eval()(narrow.make_inputs()).shape == narrow.output_shape()
        assert [*network.get_submodule(BUILT_IN_MODELS[name].head).parameters()]


def test_the_watch_for_operations_sees_what_it_looks_for() -> None:
    images = torch.ones(1, 1, 4, 4, requires_grad=True)
    with Operations() as operations:
        torch.nn.functional.adaptive_avg_pool2d(images, 2).sum().backward()

    assert any("adaptive_avg_pool" in name for name in operations.names)


@pytest.mark.parametrize("name", [name for name in OF_IMAGES if BUILT_IN_MODELS[name].min_side > 1])
def test_samples_that_are_too_small_are_refused_by_their_shape(name: str) -> None:
    least = BUILT_IN_MODELS[name].min_side

    with pytest.raises(ConfigError, match=rf"at least {least} by {least} pixels.*{least - 1} by {least}") as error:
        build_model(Model(name=name), SampleForm(shape=(least - 1, least, 1)), 2)

    assert "image.width" in error.value.remedy


def test_texts_are_refused_by_a_model_for_images_and_images_by_one_for_texts() -> None:
    with pytest.raises(ConfigError, match=r"'unet' is for imageToImage and segmentation.*are texts.*\[40\]"):
        build_model(Model(name="unet"), SampleForm(shape=(40,), vocabulary=9), 2)
    with pytest.raises(ConfigError, match=r"'lstm' is for textClassification.*are images.*\[8, 8, 1\]"):
        build_model(Model(name="lstm"), SampleForm(shape=(8, 8, 1)), 2)


@pytest.mark.parametrize("name", ["lstm", "gru", "transformer"])
def test_a_text_says_the_same_however_it_is_padded(name: str) -> None:
    network = narrow_model(name).build().eval()
    tokens = torch.tensor([[5, 9, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0]])

    torch.testing.assert_close(network(tokens[:, :3]), network(tokens))
    assert network(torch.zeros_like(tokens)).isfinite().all()
    assert not torch.equal(network(tokens[:, :2]), network(tokens))


def test_bilinear_upsampling_is_where_the_fully_convolutional_head_begins() -> None:
    from oarlock_trainer.models.fcn import build_upsampling

    scores = torch.randn(1, 2, 4, 5)
    expected = torch.nn.functional.interpolate(scores, scale_factor=8, mode="bilinear")

    actual = build_upsampling(2, 8)(scores)
    # At the border interpolation repeats the outermost value, where the convolution sees zeros.
    torch.testing.assert_close(actual[..., 4:-4, 4:-4], expected[..., 4:-4, 4:-4])


@pytest.mark.parametrize("name", THROUGH_THE_LOOP)
def test_losses_of_jobs_are_the_golden_ones(name: str, dataset_folder: Path, version: str, tmp_path: Path) -> None:
    """Within 0.2 %: other processors and other versions of torch add up in another order, which 20 steps amplify.

    What this is to catch, another order of samples, another augmentation, initialisation, schedule or loss, shows in the
    first digits.
    """
    (tmp_path / "data").symlink_to(dataset_folder / "data")
    golden = json.loads(GOLDEN_FILE.read_text())[name]

    losses = compute_losses(name, tmp_path, version)

    assert losses == pytest.approx(golden, rel=2e-3)
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("name", [name for name in NAMES if name not in THROUGH_THE_LOOP])
def test_losses_of_models_are_the_golden_ones(name: str) -> None:
    golden = json.loads(GOLDEN_FILE.read_text())[name]

    losses = compute_bare_losses(name)

    compared = COMPARED_STEPS.get(name, STEPS)
    assert losses[:compared] == pytest.approx(golden[:compared], rel=2e-3, abs=1e-5)
    assert losses[-1] < losses[0]
