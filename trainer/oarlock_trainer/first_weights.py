"""The weights with which a run begins, if they are not random: of a library's model, of a file, or of another job.

Loaded once, before the first step, never when a run resumes. The last layer is left out where its number of outputs differs, and
that is said; anything else that does not fit is refused by name and shape. Nothing is downloaded, and no code of a file is run.
"""

import importlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from oarlock_api.v1alpha1.training_job import KeptCheckpoint, Model
from oarlock_api.zoo import BUILT_IN_MODELS
from oarlock_trainer.errors import ConfigError, DataMissingError, StorageError
from oarlock_trainer.kept_weights import read_kept_weights
from oarlock_trainer.models.loading import select_weights

_WRAPPERS = ("state_dict", "model", "model_state_dict")
"""Under which training programs put the weights in a file of theirs."""
_NAMED = 6


@dataclass(frozen=True, kw_only=True, slots=True)
class FirstWeights:
    """Where a model's first weights came from."""

    source: str
    taken: int
    """Tensors that were loaded."""
    left_out: tuple[str, ...]
    """Names in the model that keep their random values because the last layer has another size."""

    def __str__(self) -> str:
        said = f"the first weights are {self.taken} tensors of {self.source}"
        if not self.left_out:
            return said
        more = f" and {len(self.left_out) - _NAMED} more" if len(self.left_out) > _NAMED else ""
        return (
            f"{said}; the last layer has another size and begins at random: {', '.join(self.left_out[:_NAMED])}{more}"
        )


def wants_first_weights(model: Model) -> bool:
    """Say whether a job asks for other first weights than random ones."""
    library = model.torchvision or model.timm
    return bool(library and library.weights) or model.init_from is not None


def check_beginning(model: Model, taken: FirstWeights | None, *, run_dir: Path) -> None:
    """Make sure that a run that begins with its first step has the weights that it is to begin with.

    Raises:
        StorageError: if it has not, since there was a checkpoint when they would have been taken.
    """
    if wants_first_weights(model) and taken is None:
        raise StorageError(
            f"the checkpoints in {run_dir} went away while this attempt was about to resume from them",
            remedy="look for who deletes them, and check that the volume is healthy",
        )


def load_first_weights(network: nn.Module, model: Model, place: Path | None, *, outputs: int) -> FirstWeights | None:
    """Put the weights that the job asks for into `network`; return None if it asks for none.

    Args:
        network: the model, whole and on the CPU.
        model: what the job says of it.
        place: the file, or the folder of the other job's run.
        outputs: size of the last layer.

    Raises:
        ConfigError: if the weights are of another model.
        DataMissingError: if there are none at `place`.
        StorageError: if the other job's volume is not mounted.
    """
    if not wants_first_weights(model):
        return None
    library = model.torchvision or model.timm
    pretrained = (library.weights or None) if library else None
    if place is None:
        raise ConfigError(
            "the run names first weights and no place for them", remedy="start the job with `oarlock run`"
        )
    if model.init_from is not None and model.init_from.job:
        _check_mount(place, model.init_from.job)
        wanted = model.init_from.checkpoint or KeptCheckpoint.BEST
        weights, source = read_kept_weights(place, checkpoint=wanted, step=model.init_from.step)
        source = f"{source} of job {model.init_from.job}"
    else:
        weights, source = _read_file(place, model), place.name
    selection = select_weights(
        network.state_dict(),
        _convert(network, weights) if pretrained and model.timm else weights,
        source=source,
        outputs=outputs,
        head=BUILT_IN_MODELS[model.name].head if model.name else None,
        match=model.init_from.match if model.init_from else None,
        adapts_channels=pretrained is not None,
    )
    network.load_state_dict(selection.chosen, strict=False)
    return FirstWeights(source=source, taken=len(selection.chosen), left_out=selection.left_out)


def _check_mount(run_dir: Path, job: str) -> None:
    """Make sure that the volume of the other job is there: once a run has had a checkpoint, pods do without it."""
    if not run_dir.parent.is_dir():
        raise StorageError(
            f"there is no checkpoint to resume from, and the weights of job {job} are not mounted at {run_dir.parent}, since"
            " this run has had one",
            remedy="check that the checkpoint volume holds what it held, or restore it; to begin anew, delete the job and apply"
            " it again",
        )


def _read_file(file: Path, model: Model) -> dict[str, Tensor]:
    if not file.is_file():
        raise DataMissingError(f"there is no file {file} with the first weights", remedy=_advise(file, model))
    try:
        if file.suffix == ".safetensors":
            return load_file(file)
        content = torch.load(file, map_location="cpu", weights_only=True)
    except (SafetensorError, OSError, RuntimeError, ValueError, EOFError, KeyError) as error:
        raise ConfigError(f"{file} cannot be read as weights: {error}", remedy="save them as safetensors") from error
    except Exception as error:  # the unpickler's own, which is not public
        raise ConfigError(
            f"{file} holds more than tensors, which is not read: {str(error).splitlines()[0]}",
            remedy="save the weights alone, as safetensors",
        ) from error
    return _unwrap(content, file)


def _unwrap(content: Any, file: Path) -> dict[str, Tensor]:
    if isinstance(content, Mapping):
        for name in _WRAPPERS:
            if isinstance(content.get(name), Mapping):
                return _unwrap(content[name], file)
        tensors = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
        if tensors:
            return tensors
    raise ConfigError(f"{file} holds no tensors by name", remedy="save the model's state_dict()")


def _advise(file: Path, model: Model) -> str:
    """Say where to put the file; a library's name for weights is a download, for which pods need no network here."""
    if model.torchvision is None:
        return "put the file there, or correct the path: it is relative to the checkpoint volume"
    models = importlib.import_module("torchvision.models")
    try:
        url = models.get_model_weights(model.torchvision.name)[file.name].url
    except (KeyError, ValueError):
        return "put the file there, or correct the path: it is relative to the checkpoint volume"
    return f"{file.name} is torchvision's name for them: put {url} on the checkpoint volume and give its path there"


def _convert(network: nn.Module, weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Have timm translate weights of the model's authors, and resize embeddings of places for another size of image."""
    convert = getattr(sys.modules[type(network).__module__], "checkpoint_filter_fn", None)
    converted: Mapping[str, Tensor] = convert(dict(weights), network) if convert else weights
    return converted
