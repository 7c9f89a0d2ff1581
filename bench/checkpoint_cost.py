"""What a checkpoint costs, against a synchronous torch.save in the same run.

    python bench/checkpoint_cost.py [--folder FOLDER] [--layers 24] [--width 1024] [--seconds 40]

Trains one model in one process. Stretches of steps without any checkpoint, with one of ours, and with one synchronous
`torch.save` alternate, so that a machine that slows down slows all three. Prints, for each kind: for how long the loop stood
still, after how long the checkpoint was on the volume, and what part of the throughput was lost over the whole stretch,
background work included; then the share of the wall time at the default interval of ten minutes.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn

from oarlock_api.run import WorkerRun
from oarlock_trainer.checkpoints import Checkpointer
from oarlock_trainer.state import TrainingState

BATCH = 64
INTERVAL_SECONDS = 600.0


@dataclass(kw_only=True, slots=True)
class Stretch:
    """A number of steps, with one checkpoint at their beginning or none."""

    seconds: float
    stall: float = 0.0
    durable: float = 0.0


@dataclass(kw_only=True, slots=True)
class Kind:
    """One way to checkpoint, and what it was measured to cost."""

    name: str
    save: Callable[[], tuple[float, Callable[[], float | None]]]
    """Saves and returns the stall and a function that says, once it is so, after how long the checkpoint was durable."""
    stretches: list[Stretch] = field(default_factory=list)


class Training:
    """The loop under test: as plain as it gets, so that whatever a save takes shows."""

    def __init__(self, *, layers: int, width: int, device: torch.device) -> None:
        blocks = [module for _ in range(layers) for module in (nn.Linear(width, width), nn.ReLU())]
        model = nn.Sequential(*blocks).to(device)
        self.state = TrainingState(model=model, optimizer=torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True))
        self._inputs = torch.randn(BATCH, width, device=device)
        self.device = device

    def step(self) -> None:
        loss = self.state.model(self._inputs).square().mean()
        self.state.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.state.optimizer.step()
        self.state.position += BATCH

    def wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def bytes(self) -> int:
        moments = (value for state in self.state.optimizer.state.values() for value in state.values())
        return sum(t.nbytes for t in (*self.state.model.state_dict().values(), *moments))


def make_checkpointer(folder: Path, device: torch.device) -> Checkpointer:
    run = WorkerRun.from_wire(
        {
            "trainingHash": "bench",
            "datasetVersion": "bench",
            "task": "imageClassification",
            "sampleShape": [1, 1, 1],
            "classCount": 2,
            "trainSamples": 1,
            "model": {"name": "mlp"},
            "recipe": {},
            "steps": 1_000_000,
            "gpu": device.type == "cuda",
            "checkpointEvery": {"minutes": 10},
            "keep": 2,
            "keepBest": {"metric": "validation/accuracy"},
        }
    )
    group = dist.group.WORLD
    assert group is not None
    return Checkpointer(
        folder / "oarlock", run=run, job_uid="bench", attempt=0, group=group, device=device, on_beat=lambda: None
    )


def make_kinds(training: Training, folder: Path) -> list[Kind]:
    checkpointer = make_checkpointer(folder, training.device)
    checkpointer.claim_fence()

    def save_ours() -> tuple[float, Callable[[], float | None]]:
        stall = checkpointer.begin_save(training.state, step=training.state.position // BATCH, epoch=0.0)

        def hear() -> float | None:
            result = checkpointer.poll()
            assert result is None or result.facts is not None
            return result.durable_seconds if result else None

        return stall, hear

    def save_synchronously() -> tuple[float, Callable[[], float | None]]:
        began = time.perf_counter()
        with (folder / "plain.pt").open("wb") as file:
            state = training.state
            torch.save({"model": state.model.state_dict(), "optimizer": state.optimizer.state_dict()}, file)
            file.flush()
            os.fsync(file.fileno())
        stall = time.perf_counter() - began
        return stall, lambda: stall

    return [
        Kind(name="none", save=lambda: (0.0, lambda: 0.0)),
        Kind(name="oarlock", save=save_ours),
        Kind(name="torch.save + fsync", save=save_synchronously),
    ]


def run_stretch(training: Training, kind: Kind, *, steps: int) -> Stretch:
    """Take `steps` steps after a save; longer if the save is not durable by then, in which case the rest is left out."""
    training.wait()
    began = time.perf_counter()
    stall, hear = kind.save()
    durable = None
    for _ in range(steps):
        training.step()
        durable = durable or hear()
    training.wait()
    seconds = time.perf_counter() - began
    while durable is None:
        durable = hear()
        time.sleep(0.01)
    return Stretch(seconds=seconds, stall=stall, durable=durable)


def choose_steps(training: Training, kind: Kind) -> int:
    """Return how many steps make a stretch about three times as long as a save takes, and at least a second."""
    for _ in range(5):
        training.step()
    per_step = run_stretch(training, Kind(name="", save=lambda: (0.0, lambda: 0.0)), steps=20).seconds / 20
    durable = max(run_stretch(training, kind, steps=20).durable for _ in range(2))
    return max(20, int(max(3 * durable, 1.0) / per_step))


def report(kinds: list[Kind], training: Training, *, steps: int) -> None:
    out = sys.stdout.write
    plain = statistics.median(stretch.seconds for stretch in kinds[0].stretches)
    megabytes = training.bytes() / 1e6
    out(f"{megabytes:.0f} MB of state on {training.device}, stretches of {steps} steps in {plain:.2f} s, ")
    out(f"{len(kinds[0].stretches)} of each kind, medians\n")
    out(f"{'':20}{'stall ms':>10}{'durable ms':>12}{'lost ms':>10}{'of 10 min':>11}\n")
    for kind in kinds[1:]:
        stall, durable = (statistics.median(getattr(s, name) for s in kind.stretches) for name in ("stall", "durable"))
        # Pairs of neighbours, so that a machine that drifts cancels out.
        pairs = zip(kind.stretches, kinds[0].stretches, strict=True)
        lost = statistics.median(ours.seconds - none.seconds for ours, none in pairs)
        share = 100 * max(lost, stall) / INTERVAL_SECONDS
        out(f"{kind.name:20}{1000 * stall:10.1f}{1000 * durable:12.0f}{1000 * lost:10.0f}{share:10.3f}%\n")
    ours, plain_save = (statistics.median(s.stall for s in kind.stretches) for kind in kinds[1:3])
    out(f"stall, ours to synchronous: {ours / plain_save:.3f}\n")


def rounds(kinds: list[Kind], *, seconds: float) -> Iterator[Kind]:
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        yield from kinds


def main() -> None:
    parser = argparse.ArgumentParser(description="The cost of checkpoints.")
    parser.add_argument("--folder", type=Path, help="on the volume to measure; absent: a temporary folder")
    parser.add_argument("--layers", type=int, default=24)
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--seconds", type=float, default=40, help="how long to measure")
    arguments = parser.parse_args()
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)  # type: ignore[attr-defined]
    device = torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
    training = Training(layers=arguments.layers, width=arguments.width, device=device)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        kinds = make_kinds(training, Path(folder))
        steps = choose_steps(training, kinds[1])
        for kind in rounds(kinds, seconds=arguments.seconds):
            kind.stretches.append(run_stretch(training, kind, steps=steps))
        report(kinds, training, steps=steps)


if __name__ == "__main__":
    main()
