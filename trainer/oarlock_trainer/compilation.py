"""Decides whether the model goes through torch.compile, and says why; and gets everything that happens once out of the way."""

from collections.abc import Callable

import torch
from torch import nn

from oarlock_api.v1alpha1.recipe import Toggle
from oarlock_trainer.devices import compute_in
from oarlock_trainer.tasks import Batch, Task

_SHORT_RUN_STEPS = 2000
"""Compiling takes about a minute; shorter runs do not earn it back."""
_REHEARSALS = 2
"""DDP arranges its buckets anew after the first pass; in the second they are as they stay."""


def choose_compilation(toggle: Toggle, *, device: torch.device, steps: int, deterministic: bool) -> tuple[bool, str]:
    """Return whether to compile, and the reason in words."""
    if toggle is not Toggle.AUTO:
        return toggle is Toggle.ON, f"recipe.compile is {toggle.value}"
    if device.type == "cpu":
        return False, "it does not pay on CPU"
    if deterministic:
        return False, "the run is deterministic"
    if steps < _SHORT_RUN_STEPS:
        return False, f"a run of {steps} steps does not earn the compilation back"
    return True, f"a run of {steps} steps earns the compilation back"


def rehearse(
    network: nn.Module,
    model: nn.Module,
    batch: Batch,
    *,
    task: Task,
    precision: torch.dtype,
    on_beat: Callable[[], None],
) -> None:
    """Run passes whose results are thrown away, on a batch of the usual size; every rank does so.

    Compilation, the choice of kernels and DDP's arrangement of gradients in buckets happen here. The last is what makes a
    resumed run bitwise equal to an undisturbed one on three and more processes: how a bucket is laid out decides in which
    order the ranks' gradients are added, and it would change after the first step of each attempt.
    """
    buffers = [buffer.clone() for buffer in model.buffers()]
    for _ in range(_REHEARSALS):
        prepared = task.prepare(batch)
        with compute_in(precision, batch.rows.samples.device):
            outputs = network(prepared.inputs)
        task.compute_loss(outputs, prepared.targets).backward()  # type: ignore[no-untyped-call]
        on_beat()
    for parameter in model.parameters():
        parameter.grad = None
    with torch.no_grad():
        for buffer, before in zip(model.buffers(), buffers, strict=True):
            buffer.copy_(before)
