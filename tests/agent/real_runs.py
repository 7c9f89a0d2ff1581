"""A data set that a real import pod wrote, and jobs that real torchrun processes train on it."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from agent.pods import Pod, make_environment
from PIL import Image

from oarlock_api.contract import DatasetFacts
from oarlock_api.resolve import Defaults, ReadyDataset, resolve
from oarlock_api.run import ImportRun, build_worker_run
from oarlock_api.v1alpha1 import DatasetStatus, TrainingJobSpec
from oarlock_api.v1alpha1.dataset import DatasetSpec, Task

_SIDE = 8


def write_images(folder: Path, *, each: int = 40) -> Path:
    """Write noise of two brightnesses, one folder per class."""
    generator = np.random.default_rng(0)
    for name, brightness in (("dark", 60), ("light", 180)):
        (folder / name).mkdir(parents=True)
        for index in range(each):
            pixels = generator.integers(0, 60, (_SIDE, _SIDE)) + brightness
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{index}.png")
    return folder


def make_import_run() -> str:
    spec = {
        "source": {"volume": {"claim": "raw"}},
        "layout": {"folders": {}},
        "image": {"width": _SIDE, "height": _SIDE, "channels": "gray"},
    }
    return ImportRun(name="shades", spec=DatasetSpec.from_wire(spec), workers=1).model_dump_json(
        by_alias=True, exclude_none=True
    )


def make_worker_run(facts: DatasetFacts, *, steps: int) -> str:
    """Return the run of a small model that checkpoints every 100 steps."""
    wire: dict[str, Any] = {
        "dataset": {"name": "shades"},
        "model": {"name": "mlp"},
        "recipe": {"maxSteps": steps, "batchSize": 12, "compile": "off", "validation": {"every": {"steps": 1000}}},
        "checkpoints": {"every": {"steps": 100}},
    }
    status = DatasetStatus(
        version=facts.version,
        claim="data",
        path=facts.path,
        counts=facts.counts,
        class_count=facts.class_count,
        sample_shape=facts.sample_shape,
    )
    dataset = ReadyDataset(name="shades", uid="u1", task=Task.IMAGE_CLASSIFICATION, status=status)
    spec = TrainingJobSpec.from_wire(wire)
    run = resolve(spec, name="shades-mlp", generation=1, dataset=dataset, defaults=Defaults(image="trainer:1"))
    return build_worker_run(run).model_dump_json(by_alias=True, exclude_none=True)


@contextmanager
def real_pod(mode: str, folder: Path, **changes: str) -> Iterator[Pod]:
    """Run `python -m oarlock_trainer.agent` as a pod does."""
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "oarlock_trainer.agent", mode]
    pod = Pod(command, make_environment(folder, **changes), folder)
    try:
        yield pod
    finally:
        pod.destroy()
