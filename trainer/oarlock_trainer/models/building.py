"""From what a job says of its model to the model itself."""

from torch import nn

from oarlock_api.v1alpha1.training_job import Model
from oarlock_trainer.errors import ConfigError
from oarlock_trainer.models.built_in import BUILDERS, build_built_in
from oarlock_trainer.models.forms import SampleForm


def build_model(model: Model, form: SampleForm, outputs: int) -> nn.Module:
    """Build the model for samples of a form, with weights drawn from torch's global generator.

    It returns [N, outputs] for classification, [N, outputs, H, W] for segmentation and image to image, and
    [N, outputs, H/4, W/4] for detection; while training, it may return a tuple (main, *auxiliary) of such tensors.

    Raises:
        ConfigError: if there is no such model here, or if the samples do not fit it.
    """
    if model.name is None:
        raise ConfigError(
            f"model must be a built-in one, got {model.to_wire()}", remedy=f"name one of {', '.join(BUILDERS)}"
        )
    return build_built_in(model.name, form, outputs)
