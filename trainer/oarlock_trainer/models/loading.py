"""Which tensors of some weights go into a model: by name and shape, strictly, but for a last layer of another size. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from oarlock_trainer.errors import ConfigError
from oarlock_trainer.models.libraries import adapt_channels

_REMOVED = ("module.", "_orig_mod.", "network.", "backbone.")
_ADDED = ("network.", "backbone.")
_COUNTER = "num_batches_tracked"
"""A counter of batch norm that older files lack, and that nothing here depends on."""
_CONVOLUTION = 4
_NAMED = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """What goes into a model, and what stays as it is there."""

    chosen: dict[str, Tensor]
    """By name in the model, in its shapes."""
    left_out: tuple[str, ...]
    """Names in the model that keep their values though they were asked for: the last layer, of another size."""


def select_weights(
    model: Mapping[str, Tensor],
    weights: Mapping[str, Tensor],
    *,
    source: str,
    outputs: int,
    head: str | None = None,
    match: str | None = None,
    adapts_channels: bool = False,
) -> Selection:
    """Return the tensors of `weights` for a model with the state `model`.

    Args:
        model: parameters and buffers by name.
        weights: likewise, of what they come from; all names may have one prefix more or less.
        source: what the weights come from, for messages.
        outputs: size of the model's last layer.
        head: name of the last layer, if it is known.
        match: regular expression that names in the model must match as a whole to be asked for; None: all are.
        adapts_channels: whether a convolution for another number of input channels is summed up or spread.

    Raises:
        ConfigError: with names and shapes, if the weights are of another model.
    """
    weights = _align_names(model, weights)
    wanted = {name: value for name, value in model.items() if match is None or re.fullmatch(match, name)}
    chosen: dict[str, Tensor] = {}
    left_out, misfits = [], []
    for name, value in wanted.items():
        given = weights.get(name)
        if given is None and name.endswith(_COUNTER):
            continue
        if given is not None and given.shape == value.shape:
            chosen[name] = given
        elif _is_under(name, head) or (given is not None and _is_last(value, given, outputs)):
            left_out.append(name)
        elif adapts_channels and given is not None and _is_for_other_channels(value, given):
            chosen[name] = adapt_channels(given, value.shape[1])
        else:
            misfits.append(
                f"{name} {list(value.shape)} is {list(given.shape) if given is not None else 'missing'} there"
            )
    if match is None:
        unknown = (name for name in weights if name not in model and not _is_under(name, head))
        misfits += [
            f"{name} {list(weights[name].shape)} is only there" for name in unknown if not name.endswith(_COUNTER)
        ]
    if misfits or not chosen:
        raise _refuse(source, misfits, match=match)
    return Selection(chosen=chosen, left_out=tuple(left_out))


def _refuse(source: str, misfits: list[str], *, match: str | None) -> ConfigError:
    more = f", and {len(misfits) - _NAMED} more" if len(misfits) > _NAMED else ""
    if not misfits:
        return ConfigError(
            f"no tensor of the model matches {match!r} and is in {source}",
            remedy="correct model.initFrom.match, or leave it out",
        )
    return ConfigError(
        f"{source} has the weights of another model: {'; '.join(misfits[:_NAMED])}{more}",
        remedy="choose the model that they were made with, or say by model.initFrom.match which tensors are meant",
    )


def _align_names(model: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Return the weights with a prefix more or less, if that has more names in common with the model."""
    ways = [
        weights,
        *({name.removeprefix(prefix): value for name, value in weights.items()} for prefix in _REMOVED),
        *({prefix + name: value for name, value in weights.items()} for prefix in _ADDED),
    ]
    return max(ways, key=lambda way: len(way.keys() & model.keys()))


def _is_under(name: str, module: str | None) -> bool:
    return module is not None and f"{name}.".startswith(f"{module}.")


def _is_last(ours: Tensor, theirs: Tensor, outputs: int) -> bool:
    """Whether two tensors differ in the number of outputs alone."""
    return ours.ndim > 0 and ours.shape[0] == outputs and ours.shape[1:] == theirs.shape[1:]


def _is_for_other_channels(ours: Tensor, theirs: Tensor) -> bool:
    same = ours.ndim == theirs.ndim == _CONVOLUTION
    return same and ours.shape[0] == theirs.shape[0] and ours.shape[2:] == theirs.shape[2:]
