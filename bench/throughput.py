"""What Oarlock's loop costs, against the same step written by hand, interleaved in the same processes.

    python bench/throughput.py [--model lenet] [--processes 1] [--batch 64] [--side 28] [--pairs 20] [--stretch 20]
                               [--cpus 1] [--gpu]

The real trainer runs with everything on: per-step figures, run log, agreement, checkpoints. After each stretch of its steps the
same processes do as many steps of a bare loop, on a model, optimizer and data of its own: gather, shift, normalise, forward,
backward, step, nothing else. A machine that slows down slows both. Prints the median step of each and the ratio, bare over
ours, as the median over the pairs; `--gate 0.95` makes a lower one an error. On a machine that others use as well, the ratio of
the processor time says more than that of the wall time.
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

from oarlock_api.contract import PodPhase
from oarlock_api.run import WorkerRun
from oarlock_trainer.config import read_config
from oarlock_trainer.datasets import open_dataset, write_dataset
from oarlock_trainer.loop import train
from oarlock_trainer.models import SampleForm, build_model
from oarlock_trainer.rank_record import RankRecord
from oarlock_trainer.signals import StopRequest

CLASSES = 10
SAMPLES = 4096
SHIFT = 2
RATE = 0.01


class BareLoop:
    """The step that one would write by hand, with all samples in memory."""

    def __init__(self, run: WorkerRun, data: Path, device: torch.device) -> None:
        split = open_dataset(data).split("train")
        images, labels = split.gather(np.arange(len(split)))
        self.images, self.labels = torch.from_numpy(images).to(device), torch.from_numpy(labels).to(device)
        self.device, self.bf16 = device, device.type == "cuda"
        height, width, channels = run.sample_shape
        model = build_model(run.model, SampleForm(shape=(height, width, channels)), CLASSES).to(device)
        self.model: nn.Module = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.processes, self.rank = dist.get_world_size(), dist.get_rank()
        if self.processes > 1:
            self.model = DistributedDataParallel(self.model, gradient_as_bucket_view=True)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=RATE, momentum=0.9, weight_decay=5e-4, fused=True)
        self.batch, self.steps = run.recipe.batch_size or 1, run.steps
        self.share = self.batch // self.processes
        self.done = 0

    def step(self) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = RATE * 0.5 * (1 + math.cos(math.pi * self.done / self.steps))
        rows = torch.randint(0, len(self.labels), (self.share,), device=self.device)
        inputs = (self.shift(self.images[rows]).permute(0, 3, 1, 2) - 120.0) * (1 / 60.0)
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.bf16):
            outputs = self.model(inputs)
        functional.cross_entropy(outputs.float(), self.labels[rows]).backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.done += 1

    def shift(self, images: Tensor) -> Tensor:
        count, height, width, channels = images.shape
        padded = functional.pad(images, (0, 0, SHIFT, SHIFT, SHIFT, SHIFT)).view(-1)
        down, right = torch.randint(0, 2 * SHIFT + 1, (2, count), device=images.device)
        run = width * channels
        windows = padded.as_strided((padded.numel() - run + 1, run), (1, 1))
        first = torch.arange(count, device=images.device) * (height + 2 * SHIFT) + down
        starts = (first[:, None] + torch.arange(height, device=images.device)) * (run + 2 * SHIFT * channels)
        return windows.index_select(0, (starts + right[:, None] * channels).view(-1)).view(images.shape)


@dataclass(slots=True)
class Pairs:
    """Seconds of wall time and of processor time per step of each stretch."""

    ours: list[tuple[float, float]] = field(default_factory=list)
    bare: list[tuple[float, float]] = field(default_factory=list)


class InterleavingRecord(RankRecord):
    """The trainer's record, which after each stretch of its steps lets the bare loop do as many."""

    def prepare(self, run: WorkerRun, data: Path, *, stretch: int, device: torch.device) -> None:
        self.run, self.data, self.stretch, self.device = run, data, stretch, device
        self.loop: BareLoop | None = None
        self.pairs = Pairs()
        self.since = (0.0, 0.0)

    def beat(self, phase: PodPhase, *, step: int | None = None, position: int | None = None) -> None:
        super().beat(phase, step=step, position=position)
        if phase is PodPhase.TRAINING and step is not None and step % self.stretch == 0:
            self.take_turn()

    def take_turn(self) -> None:
        ours = self.per_step(self.since)
        if self.loop is None:  # the first stretch of each is for warming up
            self.loop = BareLoop(self.run, self.data, self.device)
            self.time_bare()
        else:
            self.pairs.ours.append(ours)
            self.pairs.bare.append(self.time_bare())
        self.since = self.read_clocks()

    def time_bare(self) -> tuple[float, float]:
        assert self.loop is not None
        began = self.read_clocks()
        for _ in range(self.stretch):
            self.loop.step()
        return self.per_step(began)

    def per_step(self, since: tuple[float, float]) -> tuple[float, float]:
        wall, processor = self.read_clocks()
        return (wall - since[0]) / self.stretch, (processor - since[1]) / self.stretch

    def read_clocks(self) -> tuple[float, float]:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter(), time.process_time()


def make_run(options: argparse.Namespace, folder: Path) -> WorkerRun:
    shape = (options.side, options.side, options.channels)
    dice = np.random.default_rng(0)
    splits = {
        name: (dice.integers(0, 256, (count, *shape), dtype=np.uint8), np.arange(count) % CLASSES)
        for name, count in (("train", SAMPLES), ("validation", 64))
    }
    manifest = write_dataset(folder / "data", classes=[str(c) for c in range(CLASSES)], splits=splits)
    recipe = {
        "batchSize": options.batch,
        "optimizer": {"name": "sgd", "learningRate": RATE},
        "schedule": {"name": "cosine", "warmupFraction": 0},
        "augment": {"shift": SHIFT},
        "validation": {"every": {"steps": 1_000_000}},
    }
    return WorkerRun.from_wire(
        {
            "trainingHash": "bench",
            "datasetVersion": manifest.version,
            "task": "imageClassification",
            "sampleShape": list(shape),
            "classCount": CLASSES,
            "trainSamples": SAMPLES,
            "model": {"name": options.model},
            "recipe": recipe,
            "steps": options.stretch * (options.pairs + 1),
            "gpu": options.gpu,
            "checkpointEvery": {"epochs": 1, "minutes": 10},
            "keep": 3,
            "keepBest": {"metric": "validation/accuracy"},
        }
    )


def measure(stretch: int) -> None:
    """Train as one rank; rank 0 prints what was measured as JSON."""
    config = read_config(os.environ, cpus=os.cpu_count() or 1)
    device = torch.device("cuda", config.local_rank) if config.run.gpu else torch.device("cpu")
    record = InterleavingRecord.from_environment()
    record.prepare(config.run, config.data_dir, stretch=stretch, device=device)
    train(config, record, StopRequest())
    if config.rank == 0:
        print("PAIRS " + json.dumps([record.pairs.ours, record.pairs.bare]), flush=True)
    os._exit(0)


def launch(options: argparse.Namespace) -> Pairs:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        environment = {
            **os.environ,
            "OARLOCK_RUN": json.dumps(make_run(options, folder).to_wire()),
            "OARLOCK_DATA_DIR": str(folder / "data"),
            "OARLOCK_RUN_DIR": str(folder / "run"),
            "OARLOCK_CPUS": str(options.cpus or options.processes),
            "OMP_NUM_THREADS": "1",
        }
        launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={options.processes}"]
        command = [sys.executable, *launcher, __file__, "--measure", f"--stretch={options.stretch}"]
        ended = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    line = next(line for line in ended.stdout.splitlines() if line.startswith("PAIRS "))
    return Pairs(*json.loads(line.removeprefix("PAIRS ")))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="lenet")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--side", type=int, default=28)
    parser.add_argument("--channels", type=int, default=1)
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--stretch", type=int, default=20)
    parser.add_argument("--cpus", type=int, help="cores of the job; by default one for each process")
    parser.add_argument("--gpu", action="store_true")
    parser.add_argument("--gate", type=float)
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(options.stretch)
    pairs = launch(options)
    print(
        f"{options.model}, {options.processes} processes, batch {options.batch}, {len(pairs.ours)} pairs of {options.stretch} steps"
    )
    ratios = [print_clock(pairs, clock, name, batch=options.batch) for clock, name in enumerate(("wall", "processor"))]
    return 1 if options.gate and max(ratios) < options.gate else 0


def print_clock(pairs: Pairs, clock: int, name: str, *, batch: int) -> float:
    """Print what one clock says, and return the ratio."""
    ours, bare = ([seconds[clock] for seconds in part] for part in (pairs.ours, pairs.bare))
    ratios = sorted(b / o for o, b in zip(ours, bare, strict=True))
    middle = f"{ratios[len(ratios) // 4]:.3f} to {ratios[-1 - len(ratios) // 4]:.3f}"
    print(f"{name + ' time':<16}{'ms/step':>10}{'samples/s':>12}")
    for loop, seconds in (("bare", bare), ("oarlock", ours)):
        step = statistics.median(seconds)
        print(f"  {loop:<14}{step * 1e3:>10.2f}{batch / step:>12.0f}")
    fastest = min(bare) / min(ours)
    print(
        f"  {'ratio':<14}{statistics.median(ratios):>10.3f}  (middle half {middle}; of the fastest stretches {fastest:.3f})"
    )
    return statistics.median(ratios)


if __name__ == "__main__":
    sys.exit(main())
