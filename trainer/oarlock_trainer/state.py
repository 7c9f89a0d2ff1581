"""What a run has learned so far: all that a checkpoint holds, and all that a resumed run needs to go on as if nothing happened.

The random states of every rank belong to it as well, but they live in Python, NumPy and torch themselves; the checkpointer
captures and restores them. The schedule holds no state: the learning rate is a function of the step.
"""

from dataclasses import dataclass, field

from torch import nn
from torch.amp import GradScaler
from torch.optim import Optimizer

from oarlock_trainer.averaging import WeightAverage

VALIDATED_STEP = "validatedStep"
"""Counter: the step of the last validation."""


def best_counter(metric: str) -> str:
    """Return the name of the counter that holds the best value of `metric` so far."""
    return f"best/{metric}"


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
