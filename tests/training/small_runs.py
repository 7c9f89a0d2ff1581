"""A small data set that can be learned, runs over it, and a call of the whole trainer in forked ranks."""

import contextlib
import json
import os
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from training.forked_ranks import run_ranks

from oarlock_api.contract import Outcome, PodPhase
from oarlock_api.run import WorkerRun, content_hash
from oarlock_api.v1alpha1.recipe import Loader
from oarlock_api.v1alpha1.timeline import Trace
from oarlock_trainer.config import read_config
from oarlock_trainer.datasets import write_dataset
from oarlock_trainer.loop import train
from oarlock_trainer.rank_record import RankRecord
from oarlock_trainer.signals import StopRequest

CLASSES = ["north-west", "north-east", "south-west", "south-east"]
COUNTS = {"train": 100, "validation": 30}
SHAPE = (16, 16, 1)


def make_images(
    count: int, *, seed: int, shape: tuple[int, int, int] = SHAPE
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return noise with a brighter quadrant, whose place is the class."""
    dice = np.random.default_rng(seed)
    labels = np.arange(count) % len(CLASSES)
    images = dice.integers(0, 120, (count, *shape))
    half = shape[0] // 2
    for image, label in zip(images, labels, strict=True):
        image[half * (label // 2) :, half * (label % 2) :][:half, :half] += 100
    return images.astype(np.uint8), labels


def write_small_dataset(folder: Path, *, validation: int = COUNTS["validation"]) -> str:
    """Write the data set and return its version."""
    splits = {"train": make_images(COUNTS["train"], seed=1), "validation": make_images(validation, seed=2)}
    return write_dataset(folder, classes=CLASSES, splits=splits).version


def make_run(
    version: str,
    *,
    model: str | Mapping[str, Any] = "lenet",
    steps: int = 20,
    recipe: Mapping[str, Any] | None = None,
    **changes: Any,
) -> WorkerRun:
    """Return a resolved run; `recipe` and `changes` are in the form of the wire."""
    full_recipe = {
        "batchSize": 16,
        "optimizer": {"name": "adamw", "learningRate": 0.001},
        "augment": {"shift": 2},
        **(recipe or {}),
    }
    wire = {
        "datasetVersion": version,
        "task": "imageClassification",
        "sampleShape": list(SHAPE),
        "classCount": len(CLASSES),
        "trainSamples": COUNTS["train"],
        "model": {"name": model} if isinstance(model, str) else model,
        "recipe": full_recipe,
        "steps": steps,
        "gpu": False,
        "checkpointEvery": {"steps": 5},
        "keep": 3,
        "keepBest": {"metric": "validation/accuracy"},
        **changes,
    }
    return WorkerRun.from_wire({"trainingHash": content_hash([version, wire["model"], full_recipe]), **wire})


@dataclass(frozen=True, kw_only=True, slots=True)
class Story:
    """How a run went, as one rank saw it."""

    outcome: Outcome
    facts: dict[str, Any]
    """What was reported to the agent."""
    phases: list[PodPhase]
    """The phases passed through, in order."""


class _WatchedRecord(RankRecord):
    """Remembers the phases, asks the trainer to stop when it has come to a step, and clears the volume when it warns."""

    phases: list[PodPhase]
    stop: StopRequest
    stop_at: int | None = None
    stop_in: PodPhase | None = None
    in_the_way: Path | None = None

    def report(self, **facts: Any) -> None:
        super().report(**facts)
        if "warnings" in facts and self.in_the_way is not None:
            with contextlib.suppress(OSError):  # another rank was faster
                self.in_the_way.unlink()

    def beat(self, phase: PodPhase, *, step: int | None = None, position: int | None = None) -> None:
        super().beat(phase, step=step, position=position)
        known = self.__dict__.setdefault("phases", [])
        if not known or known[-1] is not phase:
            known.append(phase)
        if (self.stop_at is not None and step == self.stop_at) or (self.stop_in is not None and phase is self.stop_in):
            self.stop.received = "SIGTERM"


RECORDS: list[_WatchedRecord] = []
"""Of this process, for models that look at it."""


def run_trainer(
    environment: dict[str, str],
    *,
    stop_at: int | None = None,
    stop_in: PodPhase | None = None,
    stopped_rank: int = 0,
    in_the_way: Path | None = None,
) -> Story:
    """Train in this process, which is one rank; ask `stopped_rank` to stop at a step or in a phase.

    The file `in_the_way` is removed as soon as a warning has been reported.
    """
    if "OARLOCK_CODE_DIR" in environment:  # as PYTHONPATH has it in a pod
        sys.path.insert(0, environment["OARLOCK_CODE_DIR"])
    stop = StopRequest()
    record = _WatchedRecord.from_environment()
    RECORDS.append(record)
    record.stop, record.in_the_way = stop, in_the_way
    if int(os.environ["RANK"]) == stopped_rank:
        record.stop_at, record.stop_in = stop_at, stop_in
    config = read_config({**os.environ, **environment}, cpus=1)
    try:
        outcome = train(config, record, stop)
    finally:
        await_end_of_readers()
    return Story(outcome=outcome, facts=record._facts, phases=record.phases)


def await_end_of_readers() -> None:
    """Wait until no thread that reads samples is left, however the run has ended."""
    readers = [thread for thread in threading.enumerate() if thread.name.startswith(("reader-", "batches-"))]
    for thread in readers:
        thread.join(60.0)
    assert not any(thread.is_alive() for thread in readers), readers


def read_with(workers: int, run: WorkerRun) -> WorkerRun:
    """Return the same run with so many readers, which its checkpoints do not know of."""
    return run.model_copy(update={"recipe": run.recipe.model_copy(update={"loader": Loader(workers=workers)})})


def trace(first: int, steps: int, run: WorkerRun) -> WorkerRun:
    """Return the same run with a timeline of some steps, of which its checkpoints do not know either."""
    asked = Trace(first_step=first, steps=steps)
    return run.model_copy(update={"recipe": run.recipe.model_copy(update={"trace": asked})})


def train_run(
    run: WorkerRun,
    folder: Path,
    *,
    processes: int = 1,
    name: str = "run",
    first_weights: Path | None = None,
    code: Path | None = None,
    **how: Any,
) -> Story:
    """Train with real processes and return the story of rank 0. `folder` holds the data set in `data`."""
    environment = {
        "OARLOCK_RUN": json.dumps(run.to_wire()),
        "OARLOCK_DATA_DIR": str(folder / "data"),
        "OARLOCK_RUN_DIR": str(folder / name),
        "OARLOCK_JOB_UID": "uid",
        "OARLOCK_CPUS": "1",
        **({"OARLOCK_FIRST_WEIGHTS": str(first_weights)} if first_weights else {}),
        **({"OARLOCK_CODE_DIR": str(code)} if code else {}),
    }
    stories: list[Story] = run_ranks(processes, _Call(how), environment)
    assert len({story.outcome for story in stories}) == 1
    return stories[0]


class _Call:
    """`run_trainer` with keyword arguments, in a form that can be pickled."""

    def __init__(self, how: Mapping[str, Any]) -> None:
        self._how = dict(how)

    def __call__(self, environment: dict[str, str]) -> Story:
        return run_trainer(environment, **self._how)


def read_log(run_dir: Path, kind: str) -> list[dict[str, Any]]:
    """Return the lines of one kind of the run log."""
    lines = [json.loads(line) for line in (run_dir / "log.jsonl").read_text().splitlines()]
    return [line for line in lines if line["kind"] == kind]


def read_validations(run_dir: Path) -> list[tuple[int, str, float]]:
    """Return step, loss with all its bits, and accuracy of every validation."""
    lines = read_log(run_dir, "validation")
    return [(line["step"], float(line["validation/loss"]).hex(), line["validation/accuracy"]) for line in lines]


def read_losses(run_dir: Path) -> dict[int, str]:
    """Return every step's loss with all its bits."""
    lines = read_log(run_dir, "step")
    losses = {line["step"]: float(line["train/loss"]).hex() for line in lines}
    assert len(losses) == len(lines), "a step is logged twice"
    return losses
