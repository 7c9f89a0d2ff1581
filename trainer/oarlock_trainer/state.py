"""What a run has learned so far: all that a checkpoint holds, and all that a resumed run needs to go on as if nothing happened.

The random states of every rank belong to it as well, but they live in Python, NumPy and torch themselves; the checkpointer
captures and restores them. The schedule holds no state: the learning rate is a function of the step.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import nn
from torch.amp import GradScaler
from torch.optim import Optimizer

from oarlock_api.run import ScriptRun, WorkerRun
from oarlock_trainer.averaging import WeightAverage

VALIDATED_STEP = "validatedStep"
"""Counter: the step of the last validation."""


def best_counter(metric: str) -> str:
    """Return the name of the counter that holds the best value of `metric` so far."""
    return f"best/{metric}"


def best_loss_counter(metric: str) -> str:
    """Return the name of the counter that holds the validation loss of the best by `metric`, which decides between equals."""
    return f"{best_counter(metric)}/loss"


CheckpointedRun = WorkerRun | ScriptRun
"""What runs have checkpoints."""


class Stateful(Protocol):
    """Something of a user's program that can tell its state and take it back: an optimizer, a schedule, a scaler."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state_dict: dict[str, Any], /) -> Any: ...


@dataclass(slots=True, kw_only=True)
class ProgramState:
    """The state of one rank of a user's own program: modules, and whatever else it says has a state."""

    model: nn.Module
    """All modules, by their names in the program, without data-parallel wrappers."""
    parts: dict[str, Stateful] = field(default_factory=dict)
    """Everything else, by its name; equal on all ranks."""
    position: int = 0
    """Samples consumed, or steps where the program does not say how many samples a step takes."""
    counters: dict[str, float] = field(default_factory=dict)
    """Sums that outlive an attempt; equal on all ranks."""
    code: Mapping[str, str] = field(default_factory=dict)
    """Digests of the user's own source files, by name: a checkpoint tells them, nothing is restored from them."""


@dataclass(slots=True, kw_only=True)
class TrainingState:
    """The state of one rank, changed in place by every optimizer step."""

    model: nn.Module
    """The model itself, never its data-parallel wrapper, so that names do not depend on the number of processes."""
    optimizer: Optimizer
    scaler: GradScaler | None = None
    """Of losses, for fp16."""
    average: WeightAverage | None = None
    """Of the weights, if the recipe wants one."""
    position: int = 0
    """Samples consumed since the start of the run, over all ranks and attempts; the step is this over the batch size."""
    counters: dict[str, float] = field(default_factory=dict)
    """Sums that outlive an attempt, seconds trained for example; equal on all ranks."""
    code: Mapping[str, str] = field(default_factory=dict)
    """Digests of the source files of a model of the user's own, by name, likewise only told."""
