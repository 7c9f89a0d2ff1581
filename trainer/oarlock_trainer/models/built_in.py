"""The zoo: every built-in model by its name, made for a form of samples."""

from collections.abc import Callable, Mapping
from functools import partial

from torch import nn

from oarlock_api.zoo import BUILT_IN_MODELS
from oarlock_trainer.errors import ConfigError
from oarlock_trainer.models.alexnet import AlexNet
from oarlock_trainer.models.autoencoder import Autoencoder
from oarlock_trainer.models.centernet import CenterNet
from oarlock_trainer.models.deep_resnet import DeepResNet
from oarlock_trainer.models.fcn import Fcn
from oarlock_trainer.models.forms import SampleForm
from oarlock_trainer.models.googlenet import GoogLeNet
from oarlock_trainer.models.lenet import LeNet
from oarlock_trainer.models.mlp import Mlp
from oarlock_trainer.models.recurrent import Recurrent
from oarlock_trainer.models.resnet import ResNet
from oarlock_trainer.models.siamese import Siamese
from oarlock_trainer.models.textcnn import TextCnn
from oarlock_trainer.models.transformer import Transformer
from oarlock_trainer.models.unet import UNet
from oarlock_trainer.models.vgg import Vgg

BUILDERS: Mapping[str, Callable[..., nn.Module]] = {
    "lenet": LeNet,
    "mlp": Mlp,
    "resnet": ResNet,
    "alexnet": AlexNet,
    "googlenet": GoogLeNet,
    "vgg11": partial(Vgg, depth=11),
    "vgg16": partial(Vgg, depth=16),
    "resnet18": partial(DeepResNet, depth=18),
    "resnet34": partial(DeepResNet, depth=34),
    "resnet50": partial(DeepResNet, depth=50),
    "siamese": Siamese,
    "unet": UNet,
    "unet-small": partial(UNet, width=16, halvings=3),
    "fcn": Fcn,
    "autoencoder": Autoencoder,
    "centernet": CenterNet,
    "centernet-small": partial(CenterNet, width=16),
    "textcnn": TextCnn,
    "lstm": partial(Recurrent, cell="lstm"),
    "gru": partial(Recurrent, cell="gru"),
    "transformer": Transformer,
}
"""Called with the form of the samples and the number of outputs; keyword arguments narrow a model."""


def build_built_in(name: str, form: SampleForm, outputs: int) -> nn.Module:
    """Build a model of the zoo.

    Raises:
        ConfigError: if there is no such model, or if the samples do not fit it.
    """
    if name not in BUILDERS:
        raise ConfigError(
            f"model.name {name!r} is not a built-in model of this trainer", remedy=f"name one of {', '.join(BUILDERS)}"
        )
    _check_form(name, form)
    return BUILDERS[name](form, outputs)


def _check_form(name: str, form: SampleForm) -> None:
    model = BUILT_IN_MODELS[name]
    if form.is_text != model.reads_text:
        raise ConfigError(
            f"model {name!r} is for {' and '.join(sorted(model.tasks))}, the data set's samples are "
            f"{'texts' if form.is_text else 'images'} (sample shape {list(form.shape)})",
            remedy="choose a model for the data set's task",
        )
    if form.is_text or min(form.height, form.width) >= model.min_side:
        return
    least = model.min_side
    raise ConfigError(
        f"model {name!r} needs samples of at least {least} by {least} pixels, "
        f"the data set's are {form.height} by {form.width} (sample shape {list(form.shape)})",
        remedy="import the data set with a larger image.width and image.height, or choose a model for smaller images",
    )
