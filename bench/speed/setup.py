"""What every contender of the speed table trains: one model on one data set, with one batch, in one number format.

Only contenders import torch, which takes seconds: the bench itself starts without.
"""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from oarlock_api.run import WorkerRun
from oarlock_api.v1alpha1.training_job import Model
from oarlock_trainer.datasets import write_dataset

if TYPE_CHECKING:
    import torch
    from torch import nn

SHIFT = 2
"""Pixels by which samples are shifted at random, in every contender."""
RATE = 0.01
MEAN, DEVIATION = 127.5, 73.9
"""Of pixels that are drawn evenly."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Setup:
    """The same for all contenders."""

    model: str
    processes: int
    batch: int
    """Samples in a step, over all processes."""
    side: int
    channels: int
    classes: int
    samples: int
    stretch: int
    """Steps that a contender takes in one turn."""
    pairs: int
    """Turns of each contender that are measured."""
    cpus: int
    """Cores, over all processes."""
    workers: int
    """Processes that load data for each process, where a framework has such."""
    gpu: bool
    bf16: bool
    compiles: bool
    version: str = ""
    """Of the data set."""

    @property
    def steps(self) -> int:
        """Steps of a contender: one turn more than is measured, for warming up."""
        return self.stretch * (self.pairs + 1)

    @property
    def share(self) -> int:
        """Samples of one process in a step."""
        return self.batch // self.processes

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.side, self.side, self.channels

    def find_device(self, local_rank: int) -> "torch.device":
        import torch

        return torch.device("cuda", local_rank) if self.gpu else torch.device("cpu")

    def open_device(self, local_rank: int) -> "torch.device":
        """Return the device with the settings that Oarlock chooses for it, so that everybody has the same kernels."""
        import torch

        torch.set_float32_matmul_precision("high")
        torch.backends.cudnn.benchmark = True
        device = self.find_device(local_rank)
        if self.gpu:
            torch.cuda.set_device(device)
        return device

    def build_model(self, device: "torch.device") -> "nn.Module":
        """Return the model on its device, channels-last, compiled if that was asked for."""
        import torch

        from oarlock_trainer.models import SampleForm, build_model

        torch.manual_seed(0)
        model = build_model(Model(name=self.model), SampleForm(shape=self.shape), self.classes).to(device)
        model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it
        if self.compiles:
            model.compile()
        return model

    def build_optimizer(self, model: "nn.Module") -> "torch.optim.Optimizer":
        import torch

        return torch.optim.SGD(model.parameters(), lr=RATE, momentum=0.9, weight_decay=5e-4, fused=True)

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        return cls(**json.loads(text))


def write_data(setup: Setup, folder: Path) -> Setup:
    """Write images of noise; how fast a step is does not depend on what they show."""
    dice = np.random.default_rng(0)
    splits = {
        name: (dice.integers(0, 256, (count, *setup.shape), dtype=np.uint8), np.arange(count) % setup.classes)
        for name, count in (("train", setup.samples), ("validation", 64))
    }
    classes = [str(number) for number in range(setup.classes)]
    return replace(setup, version=write_dataset(folder, classes=classes, splits=splits).version)


def make_run(setup: Setup) -> WorkerRun:
    """Return the run of the real trainer, as the operator would resolve it."""
    recipe: dict[str, Any] = {
        "batchSize": setup.batch,
        "precision": "bf16" if setup.bf16 else "fp32",
        "compile": "on" if setup.compiles else "off",
        "optimizer": {"name": "sgd", "learningRate": RATE, "momentum": 0.9, "weightDecay": 5e-4},
        "schedule": {"name": "cosine", "warmupFraction": 0},
        "augment": {"shift": SHIFT},
        "validation": {"every": {"steps": 1_000_000}},
    }
    return WorkerRun.from_wire(
        {
            "trainingHash": "bench",
            "datasetVersion": setup.version,
            "task": "imageClassification",
            "sampleShape": list(setup.shape),
            "classCount": setup.classes,
            "trainSamples": setup.samples,
            "model": {"name": setup.model},
            "recipe": recipe,
            "steps": setup.steps,
            "gpu": setup.gpu,
            "checkpointEvery": {"minutes": 10},
            "keep": 3,
            "keepBest": {"metric": "validation/accuracy"},
        }
    )
