"""A model that a function of the user's makes: from a module of the image, or from the files of `spec.code`.

The function is called with what it asks for by name: outputs, classes, sample_shape, vocabulary, and the job's `arguments`.
"""

import importlib
import inspect
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from oarlock_api.v1alpha1.training_job import PythonModel
from oarlock_trainer.errors import ConfigError, UserCodeError
from oarlock_trainer.models.forms import SampleForm

_ITSELF = Path(__file__).parents[1]
_KEYWORDS = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def build_user_model(model: PythonModel, form: SampleForm, outputs: int) -> nn.Module:
    """Import the module, call the function, and return its model.

    Raises:
        ConfigError: if there is no such module or function, or it does not take the arguments.
        UserCodeError: if the user's code raises, with its file and line.
    """
    factory = _find_factory(model)
    offered = {
        "outputs": outputs,
        "classes": outputs,
        "sample_shape": form.shape,
        "vocabulary": form.vocabulary,
    }
    arguments = _choose_arguments(model, factory, offered)
    try:
        network = factory(**arguments)
    except Exception as error:
        raise explain_user_error(error, doing=f"{model.module}.{model.factory}") from error
    if not isinstance(network, nn.Module):
        raise ConfigError(
            f"model.python: {model.module}.{model.factory} must return a torch.nn.Module, got {type(network).__name__}",
            remedy="return the model itself",
        )
    return network


def explain_user_error(error: BaseException, *, doing: str) -> UserCodeError:
    """Say in which file and line of the user's code an exception came up: the last of its frames that is not ours."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not _is_ours(frame.filename)]
    own = [frame for frame in frames if "site-packages" not in frame.filename and "<frozen" not in frame.filename]
    place = next(reversed(own or frames), None)
    if isinstance(error, SyntaxError) and error.filename:
        where = f"{error.filename}, line {error.lineno}"
    else:
        where = f"{place.filename}, line {place.lineno}, in {place.name}" if place else "code of your own"
    return UserCodeError(
        f"{doing} ended with {type(error).__name__}: {error} ({where})",
        remedy="correct it: the same error will come again until the code or the data changes",
    )


def _is_ours(filename: str) -> bool:
    return Path(filename).is_relative_to(_ITSELF)


def _find_factory(model: PythonModel) -> Callable[..., Any]:
    try:
        module = importlib.import_module(model.module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{model.module}.".startswith(f"{error.name}."):
            raise explain_user_error(error, doing=f"importing {model.module}") from error
        raise ConfigError(
            f"model.python.module {model.module!r} cannot be found: there is no module {error.name}",
            remedy=f"bring {error.name.replace('.', '/')}.py by spec.code.configMap, or use an image that has it",
        ) from error
    except Exception as error:
        raise explain_user_error(error, doing=f"importing {model.module}") from error
    factory = getattr(module, model.factory, None)
    if not callable(factory):
        there = [name for name, value in vars(module).items() if callable(value) and not name.startswith("_")]
        raise ConfigError(
            f"model.python.factory must name a function of {model.module}, got {model.factory!r}",
            remedy=f"use one of {', '.join(there[:10])}" if there else f"define {model.factory} in it",
        )
    return factory  # type: ignore[no-any-return]  # getattr gives anything


def _choose_arguments(model: PythonModel, factory: Callable[..., Any], offered: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the function asks for by name, and the job's arguments, which it must take."""
    parameters = inspect.signature(factory).parameters
    names = [name for name, parameter in parameters.items() if parameter.kind in _KEYWORDS]
    takes_any = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values())
    where = f"{model.module}.{model.factory}({', '.join(parameters)})"
    unknown = [] if takes_any else [name for name in model.arguments if name not in names]
    if unknown:
        raise ConfigError(
            f"model.python.arguments.{unknown[0]} must be a parameter of {where}",
            remedy="correct the name, or take it out",
        )
    chosen = {**{name: value for name, value in offered.items() if name in names}, **model.arguments}
    missing = [name for name in names if name not in chosen and parameters[name].default is inspect.Parameter.empty]
    if missing:
        raise ConfigError(
            f"model.python.arguments must have {', '.join(missing)} for {where}",
            remedy=f"add them; without asking it gets {', '.join(offered)}",
        )
    return chosen
