"""A run that trains in milliseconds and has all that a checkpoint must hold: moments, buffers, randomness."""

import contextlib
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import nn

from oarlock_api.run import WorkerRun, content_hash
from oarlock_trainer.checkpoints import Checkpointer
from oarlock_trainer.state import TrainingState

BATCH = 8


def make_run(*, keep: int = 3, steps: int = 1000, metric: str = "validation/accuracy", **recipe: Any) -> WorkerRun:
    """Return a run; as when a job is resolved, its length is no part of the training hash."""
    wire: dict[str, Any] = {
        "datasetVersion": "d1",
        "task": "imageClassification",
        "sampleShape": [4, 4, 1],
        "classCount": 3,
        "trainSamples": 800,
        "model": {"name": "mlp"},
        "recipe": {"epochs": 10, "batchSize": BATCH, **recipe},
    }
    return WorkerRun.from_wire(
        {
            **wire,
            "trainingHash": content_hash({**wire, "recipe": {**wire["recipe"], "epochs": None}}),
            "steps": steps,
            "gpu": False,
            "checkpointEvery": {"steps": 5},
            "keep": keep,
            "keepBest": {"metric": metric},
        }
    )


def make_model(*, width: int = 32) -> nn.Module:
    convolution = nn.Conv2d(1, 4, 3, padding=1)
    convolution.weight.data = convolution.weight.data.contiguous(memory_format=torch.channels_last)
    head = nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.ReLU(), nn.Dropout(0.3), nn.Linear(width, 3))
    return nn.Sequential(convolution, nn.BatchNorm2d(4), *head)


def make_state(*, seed: int = 0, optimizer: str = "adamw", width: int = 32) -> TrainingState:
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    torch.manual_seed(seed)
    model = make_model(width=width)
    decay, rest = [p for p in model.parameters() if p.ndim > 1], [p for p in model.parameters() if p.ndim < 2]
    groups: list[dict[str, Any]] = [{"params": rest, "weight_decay": 0.0}, {"params": decay}]
    makers: dict[str, Callable[..., torch.optim.Optimizer]] = {
        "adamw": lambda: torch.optim.AdamW(groups, lr=0.01, weight_decay=0.1),
        "sgd": lambda: torch.optim.SGD(groups, lr=0.05, momentum=0.9, weight_decay=0.1, nesterov=True),
        "rmsprop": lambda: torch.optim.RMSprop(groups, lr=0.001, centered=True, momentum=0.5),
        "adadelta": lambda: torch.optim.Adadelta(groups),
        "adagrad": lambda: torch.optim.Adagrad(groups),
        "adamax": lambda: torch.optim.Adamax(groups),
    }
    return TrainingState(model=model, optimizer=makers[optimizer]())


def train_step(state: TrainingState) -> float:
    """Take one step whose sample, noise and dropout come from all three generators of the process."""
    step = state.position // BATCH
    state.model.train()
    images = torch.from_numpy(np.random.default_rng(step).random((BATCH, 1, 4, 4), dtype=np.float32))
    images = images + random.gauss(0, 1) * float(np.random.standard_normal()) * torch.rand(images.shape)  # noqa: NPY002
    loss = nn.functional.cross_entropy(state.model(images), torch.arange(BATCH) % 3)
    for group in state.optimizer.param_groups:
        group["lr"] = group["lr"] * 0.999
    state.optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]  # torch
    state.optimizer.step()
    state.position += BATCH
    state.counters["trainSeconds"] = state.counters.get("trainSeconds", 0.0) + 0.1
    return loss.item()


@contextlib.contextmanager
def one_gloo_rank() -> Iterator[None]:
    """Be the one rank of a gloo group."""
    torch.set_num_threads(1)
    store = dist.HashStore()  # type: ignore[attr-defined]  # torch does not list it
    dist.init_process_group("gloo", store=store, rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def make_checkpointer(
    run_dir: Path,
    *,
    run: WorkerRun | None = None,
    attempt: int = 0,
    job_uid: str = "job-1",
    on_beat: Callable[[], None] = lambda: None,
) -> Checkpointer:
    group = dist.group.WORLD
    assert group is not None
    return Checkpointer(
        run_dir,
        run=run or make_run(),
        job_uid=job_uid,
        attempt=attempt,
        group=group,
        device=torch.device("cpu"),
        on_beat=on_beat,
    )


def save_now(checkpointer: Checkpointer, state: TrainingState, **facts: Any) -> Any:
    step = state.position // BATCH
    checkpointer.begin_save(state, **{"step": step, "epoch": step / 100, **facts})
    return checkpointer.finish()


def flip_byte(path: Path, *, offset: int | None = None) -> None:
    content = bytearray(path.read_bytes())
    where = len(content) // 2 if offset is None else offset
    content[where] ^= 0x10
    path.write_bytes(content)


def list_steps(run_dir: Path) -> list[int]:
    names = [folder.name for folder in (run_dir / "checkpoints").iterdir()]
    return sorted(int(name.removeprefix("step-")) for name in names if "." not in name)


def same_bits(a: Any, b: Any) -> bool:
    """Compare two nested states bit for bit; NaN equals NaN."""
    if isinstance(a, torch.Tensor):
        same = isinstance(b, torch.Tensor) and a.dtype == b.dtype and a.shape == b.shape
        return same and a.contiguous().numpy().tobytes() == b.contiguous().numpy().tobytes()
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same_bits(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(same_bits(x, y) for x, y in zip(a, b, strict=True))
    return json.dumps(a) == json.dumps(b)


def snapshot(state: TrainingState) -> dict[str, Any]:
    return {
        "model": state.model.state_dict(),
        "optimizer": state.optimizer.state_dict(),
        "position": state.position,
        "counters": state.counters,
    }
