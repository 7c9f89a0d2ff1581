"""The training state as one flat table, name to tensor or plain value, which is what a checkpoint stores.

    model/<name>                        parameters and buffers
    optimizer/state/<parameter>/<key>   moments, step counters
    optimizer/groups                    hyperparameters of each group, and its parameters' names
    progress                            position and counters
    scaler                              scale of losses, with fp16
    average/<name>                      the average of the weights, if there is one
    averaged                            steps that it has taken up
    part/<name>/…                       of a user's own program, whatever else has a state: see `parts`
    rng/<rank>/<generator>              random states of each rank

Names of parameters, never their numbers, so that a checkpoint outlives a changed order. What else a run may learn takes a
prefix of its own. No I/O and no collectives.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.checkpoint.metadata import Metadata, TensorStorageMetadata
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer

from oarlock_trainer.checkpoints.host_scalars import HOST_SCALARS, restore_host_scalars
from oarlock_trainer.checkpoints.parts import PART, collect_parts, restore_parts
from oarlock_trainer.checkpoints.rng import restore_rng
from oarlock_trainer.errors import CheckpointMismatchError
from oarlock_trainer.sharding import own_part
from oarlock_trainer.state import ProgramState, TrainingState

Entries = dict[str, Any]

_MODEL = "model/"
_MOMENTS = "optimizer/state/"
_GROUPS = "optimizer/groups"
_PROGRESS = "progress"
_SCALER = "scaler"
_AVERAGE = "average/"
_AVERAGED = "averaged"

# How an optimizer computes is chosen for the machine at hand; a run that moves keeps the choice made there.
_IMPLEMENTATION = frozenset({"foreach", "fused", "capturable", "differentiable"})


def collect_entries(state: TrainingState | ProgramState, *, rng: Mapping[str, Tensor], rank: int) -> Entries:
    """Return this rank's table. The tensors are the live ones: stage them before the next step changes them."""
    entries: Entries = {_MODEL + name: value for name, value in state.model.state_dict().items()}
    entries |= _collect_training(state) if isinstance(state, TrainingState) else collect_parts(state.parts)
    entries[_PROGRESS] = {"position": state.position, "counters": dict(state.counters)}
    return entries | {f"{_rng_prefix(rank)}{name}": value for name, value in rng.items()}


def _collect_training(state: TrainingState) -> Entries:
    names = _parameter_names(state.model)
    saved = state.optimizer.state_dict()
    order = [names[id(parameter)] for group in state.optimizer.param_groups for parameter in group["params"]]
    entries: Entries = {}
    for index, moments in saved["state"].items():
        entries |= {f"{_MOMENTS}{order[index]}/{key}": value for key, value in moments.items()}
    entries[_GROUPS] = [{**g, "params": [order[index] for index in g["params"]]} for g in saved["param_groups"]]
    if state.scaler is not None and state.scaler.is_enabled():
        entries[_SCALER] = state.scaler.state_dict()
    if state.average is not None:
        entries |= {_AVERAGE + name: value for name, value in state.average.values.items()}
        entries[_AVERAGED] = {"updates": state.average.updates}
    return entries


def select_own_entries(entries: Entries, *, model: nn.Module, rank: int, size: int) -> Entries:
    """Return what this rank writes: parameters and their moments are shared out by size, the rest is rank 0's.

    Data-parallel ranks hold equal parameters, so that each needs to stage and write only its share; of what is sharded, each
    writes the part that it holds. Buffers belong to rank 0:
    those of batch normalisation differ between ranks until the next forward pass takes rank 0's. Random states are each
    rank's own.
    """
    own = _rng_prefix(rank)
    parameters = _parameter_entries(model)
    shared = {
        name
        for name, value in entries.items()
        if isinstance(value, Tensor) and (name in parameters or name.startswith(_MOMENTS))
    }
    sharded = {name for name in shared if isinstance(entries[name], DTensor)}
    mine = sharded | set(_share_out(shared - sharded, entries, size=size)[rank])
    return {
        name: value
        for name, value in entries.items()
        if name in mine or (name not in shared and (rank == 0 or name.startswith(own)))
    }


def build_targets(metadata: Metadata, state: TrainingState | ProgramState, *, rank: int) -> Entries:
    """Return the table into which the checkpoint that `metadata` describes is read.

    The model's tensors are the live ones. The optimizer's are made as the checkpoint holds them, because a fresh optimizer
    has none yet.

    Raises:
        CheckpointMismatchError: if the model's tensors are not those of the checkpoint.
    """
    stored = metadata.state_dict_metadata
    targets: Entries = {_MODEL + name: value for name, value in state.model.state_dict().items()}
    _check_model(targets, stored)
    parameters = dict(state.model.named_parameters())
    average = state.average.values if isinstance(state, TrainingState) and state.average is not None else {}
    targets |= {_AVERAGE + name: value for name, value in average.items()}
    for name, facts in stored.items():
        if name.startswith(_MOMENTS):
            parameter, key = _moment_of(name)
            targets[name] = _empty_moment(facts, like=None if key in HOST_SCALARS else parameters.get(parameter))
        elif name in (_GROUPS, _PROGRESS, _SCALER, _AVERAGED) or name.startswith((_rng_prefix(rank), PART)):
            targets[name] = _empty_moment(facts, like=None)
    return targets


def restore_entries(entries: Entries, state: TrainingState | ProgramState, *, rank: int, device: torch.device) -> None:
    """Put a table that has been read into the running state, the random generators included.

    Raises:
        CheckpointMismatchError: if the optimizer's groups are not those of the checkpoint.
    """
    own = _rng_prefix(rank)
    model = {name.removeprefix(_MODEL): value for name, value in entries.items() if name.startswith(_MODEL)}
    state.model.load_state_dict(model)
    if isinstance(state, TrainingState):
        _restore_training(entries, state)
    else:
        restore_parts(entries, state.parts)
    state.position = entries[_PROGRESS]["position"]
    state.counters = dict(entries[_PROGRESS]["counters"])
    restore_rng({name.removeprefix(own): value for name, value in entries.items() if name.startswith(own)}, device)


def _restore_training(entries: Entries, state: TrainingState) -> None:
    _restore_optimizer(entries, state)
    if state.scaler is not None and _SCALER in entries:
        state.scaler.load_state_dict(entries[_SCALER])
    if state.average is not None:
        average = {name.removeprefix(_AVERAGE): value for name, value in entries.items() if name.startswith(_AVERAGE)}
        state.average.load(average, updates=entries[_AVERAGED]["updates"])


def is_finite(entries: Entries, *, model: nn.Module) -> bool:
    """Say whether every parameter is finite and nothing else is NaN; a buffer may be infinite, as masks are."""
    parameters = _parameter_entries(model)
    return all(_is_sound(value, finite=name in parameters) for name, value in entries.items())


def _is_sound(value: Any, *, finite: bool) -> bool:
    if not isinstance(value, Tensor) or not (value.is_floating_point() or value.is_complex()):
        return True
    # Of a sharded tensor each rank looks at its own part: to ask the others would need a collective.
    value = own_part(value)
    return bool(torch.isfinite(value).all() if finite else not torch.isnan(value).any())


def _rng_prefix(rank: int) -> str:
    return f"rng/{rank}/"


def _moment_of(name: str) -> tuple[str, str]:
    """Return (parameter, key) of a moment's name."""
    parameter, _, key = name.removeprefix(_MOMENTS).rpartition("/")
    return parameter, key


def _parameter_names(model: nn.Module) -> dict[int, str]:
    return {id(parameter): name for name, parameter in model.named_parameters()}


def _parameter_entries(model: nn.Module) -> set[str]:
    names = [name for name, _ in model.named_parameters(remove_duplicate=False)]
    return {prefix + name for prefix in (_MODEL, _AVERAGE) for name in names}


def _share_out(names: set[str], entries: Entries, *, size: int) -> list[list[str]]:
    """Deal the names to `size` ranks, the largest first, each to the rank that has least; every rank computes the same."""
    shares: list[list[str]] = [[] for _ in range(size)]
    loads = [0] * size
    for name in sorted(names, key=lambda name: (-entries[name].nbytes, name)):
        rank = loads.index(min(loads))
        shares[rank].append(name)
        loads[rank] += entries[name].nbytes
    return shares


def _empty_moment(facts: Any, *, like: Tensor | None) -> Tensor | None:
    """Return a place for a tensor, laid out like its parameter if it has that shape; None for a plain value."""
    if not isinstance(facts, TensorStorageMetadata):
        return None
    if like is not None and like.shape == facts.size:
        return torch.empty_like(like, dtype=facts.properties.dtype, requires_grad=False)
    return torch.empty(facts.size, dtype=facts.properties.dtype)


def _check_model(targets: Entries, stored: Mapping[str, Any]) -> None:
    in_checkpoint = {name for name in stored if name.startswith(_MODEL)}
    for name in sorted(in_checkpoint ^ set(targets)):
        where = "the checkpoint" if name in in_checkpoint else "the model"
        raise _mismatch(f"only {where} has the tensor {name.removeprefix(_MODEL)}")
    for name, value in targets.items():
        facts = stored[name]
        if not isinstance(value, Tensor) or not isinstance(facts, TensorStorageMetadata):
            continue
        had, has = (tuple(facts.size), facts.properties.dtype), (tuple(value.shape), value.dtype)
        if had != has:
            found = f"{list(had[0])} {had[1]} in the checkpoint, {list(has[0])} {has[1]} in the model"
            raise _mismatch(f"the tensor {name.removeprefix(_MODEL)} is {found}")


def _restore_optimizer(entries: Entries, state: TrainingState) -> None:
    optimizer = state.optimizer
    names = _parameter_names(state.model)
    order = [names[id(parameter)] for group in optimizer.param_groups for parameter in group["params"]]
    groups = [
        _merge_group(saved, present, names=names)
        for saved, present in zip(_matching_groups(entries[_GROUPS], optimizer), optimizer.param_groups, strict=True)
    ]
    moments: dict[int, dict[str, Any]] = {}
    index = {name: number for number, name in enumerate(order)}
    for name, value in entries.items():
        if name.startswith(_MOMENTS):
            parameter, key = _moment_of(name)
            moments.setdefault(index[parameter], {})[key] = value
    numbered = [{**group, "params": [index[name] for name in group["params"]]} for group in groups]
    saved = {"state": moments, "param_groups": numbered}
    optimizer.load_state_dict(saved)
    restore_host_scalars(optimizer, saved)


def _matching_groups(saved: list[dict[str, Any]], optimizer: Optimizer) -> list[dict[str, Any]]:
    if len(saved) != len(optimizer.param_groups):
        found = f"{len(saved)} in the checkpoint, {len(optimizer.param_groups)} in this run"
        raise _mismatch(f"the optimizer has another number of parameter groups: {found}")
    return saved


def _merge_group(saved: dict[str, Any], present: dict[str, Any], *, names: dict[int, str]) -> dict[str, Any]:
    """Return the saved hyperparameters with the present implementation and the present order of parameters."""
    here = [names[id(parameter)] for parameter in present["params"]]
    for name in sorted(set(here) ^ set(saved["params"])):
        raise _mismatch(f"the parameter {name} is in another group of the optimizer, or in none")
    kept = {key: value for key, value in present.items() if key in _IMPLEMENTATION}
    return {**saved, **kept, "params": here}


def _mismatch(finding: str) -> CheckpointMismatchError:
    return CheckpointMismatchError(
        f"the checkpoint does not fit the model: {finding}",
        remedy="use the image that wrote the checkpoint, or train anew under another name",
    )
