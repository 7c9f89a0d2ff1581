"""The named parts of a user's own program in a checkpoint: whatever has `state_dict` and `load_state_dict`.

    part/<name>/tree            the state, each tensor in it replaced by a mark with its number
    part/<name>/tensor/<number> the tensors

A tree holds plain values alone, so that reading it runs no code that a pickle might hold.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

from oarlock_api.contract import Cause
from oarlock_trainer.checkpoints.host_scalars import restore_host_scalars
from oarlock_trainer.errors import CheckpointMismatchError, TrainerError
from oarlock_trainer.state import Stateful

PART = "part/"
_MARK = "oarlock.tensor"


class UnsavableStateError(TrainerError):
    """A state with something in it that a checkpoint cannot hold."""

    cause = Cause.USER_ERROR


def collect_parts(parts: Mapping[str, Stateful]) -> dict[str, Any]:
    """Return the table of all parts, with the live tensors.

    Raises:
        UnsavableStateError: naming the part and the place in it.
    """
    entries: dict[str, Any] = {}
    for name, part in parts.items():
        tensors: list[Tensor] = []
        entries[f"{PART}{name}/tree"] = _take_out(part.state_dict(), tensors, where=name)
        entries |= {f"{PART}{name}/tensor/{number}": tensor for number, tensor in enumerate(tensors)}
    return entries


def restore_parts(entries: Mapping[str, Any], parts: Mapping[str, Stateful]) -> None:
    """Give every part its state back.

    Raises:
        CheckpointMismatchError: if the checkpoint has other parts.
    """
    stored = {name.removeprefix(PART).removesuffix("/tree") for name in entries if _is_tree(name)}
    for name in sorted(stored ^ set(parts)):
        where = "the checkpoint" if name in stored else "the program"
        raise CheckpointMismatchError(
            f"only {where} has the part {name}",
            remedy="give the session the parts that it had, or train anew under another name",
        )
    for name, part in parts.items():
        saved = _put_back(entries[f"{PART}{name}/tree"], entries, name=name)
        part.load_state_dict(saved)
        restore_host_scalars(part, saved)


def _is_tree(name: str) -> bool:
    return name.startswith(PART) and name.endswith("/tree")


def _take_out(value: Any, tensors: list[Tensor], *, where: str) -> Any:
    if isinstance(value, Tensor):
        tensors.append(value)
        return {_MARK: len(tensors) - 1}
    if isinstance(value, Mapping):
        return {key: _take_out(item, tensors, where=f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, list | tuple):
        items = [_take_out(item, tensors, where=f"{where}[{index}]") for index, item in enumerate(value)]
        return items if isinstance(value, list) else tuple(items)
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, str | bool | int | float):
        return value
    raise UnsavableStateError(
        f"the state of {where} is a {type(value).__name__}, which a checkpoint cannot hold",
        remedy="have state_dict return numbers, texts, tensors, and lists and dictionaries of them",
    )


def _put_back(value: Any, entries: Mapping[str, Any], *, name: str) -> Any:
    if isinstance(value, dict):
        if value.keys() == {_MARK}:
            return entries[f"{PART}{name}/tensor/{value[_MARK]}"]
        return {key: _put_back(item, entries, name=name) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_put_back(item, entries, name=name) for item in value)
    return value
