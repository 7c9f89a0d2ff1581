"""The built-in models: torch alone, and no operation that lacks a deterministic form on CUDA.

That excludes adaptive pooling, bilinear upsampling and losses over maps. The names are those of `oarlock_api.zoo`, which the
operator checks without importing torch.
"""

from collections.abc import Callable

from torch import nn

from oarlock_api.v1alpha1.training_job import Model
from oarlock_api.zoo import BUILT_IN_MODELS
from oarlock_trainer.errors import ConfigError
from oarlock_trainer.models.forms import SampleForm
from oarlock_trainer.models.lenet import LeNet
from oarlock_trainer.models.mlp import Mlp
from oarlock_trainer.models.resnet import ResNet

__all__ = ["SampleForm", "build_model"]

_BUILDERS: dict[str, Callable[[SampleForm, int], nn.Module]] = {"lenet": LeNet, "mlp": Mlp, "resnet": ResNet}


def build_model(model: Model, form: SampleForm, outputs: int) -> nn.Module:
    """Build the model for samples of a form, with weights drawn from torch's global generator.

    It returns [N, outputs] for classification, [N, outputs, H, W] for segmentation and image to image, and
    [N, outputs, H/4, W/4] for detection; while training, it may return a tuple (main, *auxiliary) of such tensors.

    Raises:
        ConfigError: if there is no such model here, or if the samples do not fit it.
    """
    if model.name not in _BUILDERS:
        raise ConfigError(
            f"model must be a built-in one, got {model.to_wire()}", remedy=f"name one of {', '.join(_BUILDERS)}"
        )
    least = BUILT_IN_MODELS[model.name].min_side
    height, width, _ = form.shape
    if min(height, width) < least:
        raise ConfigError(
            f"model {model.name!r} needs samples of at least {least} by {least} pixels, "
            f"the data set's are {height} by {width} (sample shape {list(form.shape)})",
            remedy=f"import the data set with a larger image.width and image.height, or use {_smallest()!r}",
        )
    return _BUILDERS[model.name](form, outputs)


def _smallest() -> str:
    return min(BUILT_IN_MODELS.values(), key=lambda model: model.min_side).name
