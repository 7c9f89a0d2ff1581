"""From what a job says of its model to the model itself."""

from torch import nn

from oarlock_api.v1alpha1.training_job import Model, PythonModel
from oarlock_trainer.errors import ConfigError
from oarlock_trainer.models.built_in import BUILDERS, build_built_in
from oarlock_trainer.models.forms import SampleForm
from oarlock_trainer.models.lazy_layers import complete_lazy_layers, has_lazy_layers
from oarlock_trainer.models.libraries import build_timm, build_torchvision
from oarlock_trainer.models.user_code import build_user_model, explain_user_error


def build_model(model: Model, form: SampleForm, outputs: int) -> nn.Module:
    """Build the model for samples of a form, with weights drawn from torch's global generator.

    It returns [N, outputs] for classification, [N, outputs, H, W] for segmentation and image to image, and
    [N, outputs, H/4, W/4] for detection; while training, it may return a tuple (main, *auxiliary) of such tensors.
    Pretrained weights are not its business: see `oarlock_trainer.first_weights`.

    Raises:
        ConfigError: if there is no such model here, or if the samples do not fit it.
        UserCodeError: if code of the user's own raises.
    """
    if model.name is not None:
        return build_built_in(model.name, form, outputs)
    if model.torchvision is not None:
        return build_torchvision(model.torchvision.name, form, outputs)
    if model.timm is not None:
        return build_timm(model.timm.name, form, outputs)
    if model.python is not None:
        return _build_own(model.python, form, outputs)
    raise ConfigError("model must have one of name, torchvision, timm, python", remedy=f"name: {next(iter(BUILDERS))}")


def _build_own(python: PythonModel, form: SampleForm, outputs: int) -> nn.Module:
    network = build_user_model(python, form, outputs)
    if has_lazy_layers(network):
        try:
            complete_lazy_layers(network, form)
        except ConfigError:
            raise
        except Exception as error:
            raise explain_user_error(error, doing="finding the sizes of the model's lazy layers") from error
    return network
