"""Passes before the first step whose results are thrown away: what happens once happens in them, and what is amiss shows in them.

Compilation, the choice of kernels and DDP's arrangement of gradients in buckets happen here. The last is what makes a resumed
run bitwise equal to an undisturbed one on three and more processes: how a bucket is laid out decides in which order the ranks'
gradients are added, and it would change after the first step of each attempt.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from oarlock_trainer.devices import compute_in
from oarlock_trainer.distributed import Processes, hold_gradients, spread_model
from oarlock_trainer.learner import Learner
from oarlock_trainer.tasks import Batch, Task

_NAMED = 6


@dataclass(frozen=True, kw_only=True, slots=True)
class Rehearsal:
    """What the rehearsal has found."""

    learner: Learner
    """What the run trains with."""
    idle: tuple[str, ...]
    """Names of the parameters that got no gradient on some rank, though they are to be trained."""


def rehearse(
    learner: Learner, batch: Batch, *, task: Task, processes: Processes, on_beat: Callable[[], None]
) -> Rehearsal:
    """Run passes on a batch of the usual size; every rank does so, and leaves parameters and buffers as they were.

    DDP waits for a gradient of every parameter. Where a model has some that get none, it is spread anew in the way that looks
    for them in each step, so that a run is the same on any number of processes. The first pass, which tells, stays on each
    rank. DDP arranges its buckets anew after the next; in the one after that they are as they stay.
    """
    with _buffers_put_back(learner.model):
        _pass(learner, batch, task=task, hold=True)
        on_beat()
        idle = _find_idle(learner.model, processes)
        is_ddp = isinstance(learner.network, DistributedDataParallel)
        if is_ddp and idle:
            learner = replace(learner, network=spread_model(learner.model, processes, seeks_idle=True))
        for _ in range(2 if is_ddp else 1):
            _pass(learner, batch, task=task, hold=False)
            on_beat()
        _drop_gradients(learner.model)
    return Rehearsal(learner=learner, idle=idle)


def describe_idle(names: Sequence[str]) -> str:
    """Return what the user should know of parameters that get no gradient."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return (
        f"the loss does not depend on {', '.join(names[:_NAMED])}{more}: without a gradient they stay as they are; take them out of"
        " the model, or freeze them by recipe.paramGroups, which saves looking for them in each step"
    )


def _pass(learner: Learner, batch: Batch, *, task: Task, hold: bool) -> None:
    prepared = task.prepare(batch)
    with hold_gradients(learner.network, hold=hold):
        with compute_in(learner.precision, batch.rows.samples.device):
            outputs = learner.network(prepared.inputs)
        task.compute_loss(outputs, prepared.targets).backward()  # type: ignore[no-untyped-call]


def _find_idle(model: nn.Module, processes: Processes) -> tuple[str, ...]:
    """Return the same names on all ranks, and drop the gradients."""
    trained = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    lacking = torch.tensor([parameter.grad is None for _, parameter in trained], dtype=torch.uint8)
    _drop_gradients(model)
    dist.all_reduce(lacking, op=dist.ReduceOp.MAX, group=processes.control)
    return tuple(name for (name, _), lacks in zip(trained, lacking.tolist(), strict=True) if lacks)


def _drop_gradients(model: nn.Module) -> None:
    for parameter in model.parameters():
        parameter.grad = None


@contextmanager
def _buffers_put_back(model: nn.Module) -> Iterator[None]:
    """Put back the buffers; those that the model makes in its first pass stay, as they do in a run without rehearsal."""
    before = [
        (module, name, buffer.clone())
        for module in model.modules()
        for name, buffer in module.named_buffers(recurse=False)
    ]
    yield
    with torch.no_grad():
        for module, name, buffer in before:
            getattr(module, name).copy_(buffer)
