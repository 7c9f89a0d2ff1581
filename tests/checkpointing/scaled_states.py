"""A model trained by NAdam, of a run and of a program, and what must be true of it when it goes on from a checkpoint."""

from pathlib import Path
from typing import Any

import torch
from checkpointing.tiny_runs import make_checkpointer, save_now
from torch import Tensor, nn

from oarlock_trainer.state import ProgramState, TrainingState


class Scaled(nn.Module):
    """A layer and a temperature: the state of a parameter without a shape looks like a scalar of the host."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)
        self.temperature = nn.Parameter(torch.tensor(1.5))

    def forward(self, inputs: Tensor) -> Tensor:
        return self.layer(inputs) * self.temperature  # type: ignore[no-any-return]


def make_state(kind: str, *, seed: int = 0, device: str = "cpu", capturable: bool = False) -> Any:
    torch.manual_seed(seed)
    model = Scaled().to(device=device, dtype=torch.float64)
    optimizer = torch.optim.NAdam(model.parameters(), lr=0.1, capturable=capturable)
    if kind == "training":
        return TrainingState(model=model, optimizer=optimizer)
    return ProgramState(model=nn.ModuleDict({"model": model}), parts={"optimizer": optimizer})


def optimizer_of(state: Any) -> torch.optim.Optimizer:
    return state.optimizer if isinstance(state, TrainingState) else state.parts["optimizer"]


def take_step(state: Any) -> None:
    optimizer = optimizer_of(state)
    model = state.model if isinstance(state, TrainingState) else state.model["model"]
    optimizer.zero_grad()
    inputs = torch.ones(4, 3, dtype=torch.float64, device=next(model.parameters()).device)
    model(inputs).square().sum().backward()
    optimizer.step()


def find_differences(kind: str, folder: Path, *, device: str) -> list[str]:
    """Return what differs, in bits, type or place, between a run and the same one resumed after its third step, for two steps more."""
    undisturbed = make_state(kind, device=device)
    for _ in range(3):
        take_step(undisturbed)
    save_now(make_checkpointer(folder), undisturbed, step=3)
    resumed = make_state(kind, seed=9, device=device)
    make_checkpointer(folder).load_latest(resumed)
    differences = []
    for step in (3, 4):
        ours, theirs = describe(resumed), describe(undisturbed)
        differences += [f"{name} after step {step}" for name in theirs if ours.get(name) != theirs[name]]
        take_step(resumed)
        take_step(undisturbed)
    return differences


def describe(state: Any) -> dict[str, tuple[str, str, bytes]]:
    """Return place, type and bits of every tensor of the model and the optimizer."""
    tensors = dict(state.model.state_dict())
    for number, values in enumerate(optimizer_of(state).state.values()):
        tensors |= {f"{number}.{name}": value for name, value in values.items()}
    return {name: (str(v.device), str(v.dtype), v.detach().cpu().numpy().tobytes()) for name, v in tensors.items()}
