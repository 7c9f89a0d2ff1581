"""Whether a model takes the data set's samples and returns what the task needs: tried on two samples before a device is taken."""

from torch import Tensor, nn

from oarlock_api.v1alpha1.dataset import Task
from oarlock_api.v1alpha1.training_job import Model
from oarlock_trainer.errors import ConfigError
from oarlock_trainer.models.forms import SampleForm
from oarlock_trainer.models.trying import try_forward
from oarlock_trainer.models.user_code import explain_user_error

_SAMPLES = 2
_MAPS = frozenset({Task.SEGMENTATION, Task.IMAGE_TO_IMAGE})


def check_fit(network: nn.Module, model: Model, form: SampleForm, *, outputs: int, task: Task) -> None:
    """Refuse a model that does not take the samples, or whose main output has another shape than the task needs.

    Nothing of the model changes by it, and nothing is drawn from the random generators.

    Raises:
        ConfigError: with the shapes.
        UserCodeError: if the user's own code raises.
    """
    try:
        shape = _find_output_shape(network, form)
    except Exception as error:
        if model.python is not None:
            raise explain_user_error(error, doing=f"the model on samples of shape {_list_input(form)}") from error
        raise ConfigError(
            f"model {describe_model(model)} does not take samples of shape {_list_input(form)}: "
            f"{type(error).__name__}: {error}".rstrip(),
            remedy="import the data set in a size that the model takes, or choose another model",
        ) from error
    if not _is_fitting(shape, form, outputs=outputs, task=task):
        raise ConfigError(
            f"model {describe_model(model)} must return {_list_output(form, outputs=outputs, task=task)} for {task}, "
            f"it returns {_list(shape)}",
            remedy="choose a model for this task, or correct its last layer",
        )


def find_fewest_samples(network: nn.Module, form: SampleForm) -> int:
    """Return how many samples a model needs at once in training: two if it refuses one, as batch norms of maps of one pixel do."""
    try:
        try_forward(network, form, samples=1)
    except Exception:  # noqa: BLE001  # why it refuses one is nobody's business if it takes two, and is said if it does not
        return _SAMPLES
    return 1


def describe_model(model: Model) -> str:
    """Return a model's name as the user wrote it."""
    if model.name:
        return model.name
    for library, named in (("torchvision", model.torchvision), ("timm", model.timm)):
        if named:
            return f"{named.name} of {library}"
    return f"{model.python.module}.{model.python.factory}" if model.python else "without a name"


def _find_output_shape(network: nn.Module, form: SampleForm) -> list[int]:
    """Return the shape of the main output."""
    outputs = try_forward(network, form, samples=_SAMPLES)
    main = outputs[0] if isinstance(outputs, tuple) else outputs
    if not isinstance(main, Tensor):
        raise TypeError(f"its output must be a tensor or a tuple of tensors, got {type(main).__name__}")
    return list(main.shape)


def _is_fitting(shape: list[int], form: SampleForm, *, outputs: int, task: Task) -> bool:
    if task is Task.OBJECT_DETECTION:
        return len(shape) == 4 and shape[:2] == [_SAMPLES, outputs]  # noqa: PLR2004  # [N, maps, h, w]
    sides = [form.height, form.width] if task in _MAPS else []
    return shape == [_SAMPLES, outputs, *sides]


def _list_input(form: SampleForm) -> str:
    return _list([_SAMPLES, *form.shape] if form.is_text else [_SAMPLES, form.channels, form.height, form.width])


def _list_output(form: SampleForm, *, outputs: int, task: Task) -> str:
    if task is Task.OBJECT_DETECTION:
        return f"[N, {outputs}, H/4, W/4]"
    return _list([_SAMPLES, outputs, *((form.height, form.width) if task in _MAPS else ())])


def _list(shape: list[int]) -> str:
    return f"[N, {', '.join(map(str, shape[1:]))}]" if shape else "[]"
