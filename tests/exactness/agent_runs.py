"""Whole training runs below a real agent, small enough to be repeated often, and what is left of each to compare."""

import contextlib
import hashlib
import json
import os
import signal
import sys
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from torch.distributed.checkpoint.default_planner import _EmptyStateDictLoadPlanner
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.state_dict_loader import load

from control_plane.ports import pick_free_ports
from oarlock_api import contract
from oarlock_api.contract import TerminationRecord
from oarlock_api.resolve import Defaults, ReadyDataset, resolve
from oarlock_api.run import WorkerRun, build_worker_run
from oarlock_api.v1alpha1 import DatasetStatus, TrainingJobSpec
from oarlock_api.v1alpha1.dataset import Task
from oarlock_trainer.datasets import write_dataset
from oarlock_trainer.rank_record import RankReading, read_rank_record

STEPS = 160
SHAPE = (20, 20, 1)
SAMPLES = {"train": 900, "validation": 100}
CLASSES = ["a", "b", "c", "d"]


def make_data(folder: Path) -> str:
    """Write a data set that cannot be learned by heart in a few steps, and return its version."""
    dice = np.random.default_rng(7)
    splits = {}
    for name, count in SAMPLES.items():
        labels = dice.integers(0, len(CLASSES), count)
        images = dice.integers(0, 200, (count, *SHAPE)) + 12 * labels[:, None, None, None]
        splits[name] = (images.astype(np.uint8), labels)
    return write_dataset(folder, classes=CLASSES, splits=splits).version


def make_run(version: str, *, model: str, seed: int = 0, gpus: int = 0, precision: str = "auto") -> WorkerRun:
    """Return the run as the operator would resolve it: dropout (in mlp), augmentation, a schedule, an average."""
    status = DatasetStatus(
        version=version,
        claim="claim",
        path="path",
        counts=SAMPLES,
        class_count=len(CLASSES),
        sample_shape=list(SHAPE),
    )
    spec = {
        "dataset": {"name": "data"},
        "model": {"name": model},
        "recipe": {
            "maxSteps": STEPS,
            "batchSize": 32,
            "seed": seed,
            "deterministic": True,
            "precision": precision,
            "optimizer": {"name": "adamw", "learningRate": 0.002},
            "augment": {"shift": 2},
            "ema": {"decay": 0.98},
            "validation": {"every": {"steps": 25}, "weights": "ema"},
        },
        "workers": {"gpusPerNode": gpus},
        "checkpoints": {"every": {"steps": 20}, "keep": 2},
    }
    dataset = ReadyDataset(name="data", uid="data-uid", task=Task.IMAGE_CLASSIFICATION, status=status)
    run = resolve(
        TrainingJobSpec.from_wire(spec),
        name="exactness",
        generation=1,
        dataset=dataset,
        defaults=Defaults(image="trainer:1"),
        claim_access_modes=None,
    )
    return build_worker_run(run)


@dataclass(kw_only=True, slots=True)
class Job:
    """A job's folder, and the attempts at it."""

    folder: Path
    data: Path
    run: WorkerRun
    processes: int
    attempts: int = 0

    @property
    def run_dir(self) -> Path:
        return self.folder / "run"

    def start_agent(self) -> "Attempt":
        """Start the next attempt: a new agent with a scratch folder of its own, as a new pod has."""
        scratch = self.folder / f"scratch-{self.attempts}"
        scratch.mkdir(parents=True)
        variables = {
            contract.CONTRACT_VERSION_ENV: str(contract.CONTRACT_VERSION),
            contract.RUN_ENV: json.dumps(self.run.to_wire()),
            contract.JOB_UID_ENV: "4f7d2c1e-0000-4000-8000-000000000001",
            contract.RUN_HASH_ENV: "0123456789abcdef",
            contract.ATTEMPT_ENV: str(self.attempts),
            contract.NODES_ENV: "1",
            contract.NODE_RANK_ENV: "0",
            contract.PROCESSES_PER_NODE_ENV: str(self.processes),
            contract.CPUS_ENV: str(self.processes),
            # However long a busy machine takes to import torch: no rank of these runs hangs.
            contract.PROGRESS_DEADLINE_SECONDS_ENV: "900",
            contract.GRACE_PERIOD_SECONDS_ENV: "30",
            contract.POD_NAME_ENV: f"exactness-{self.attempts}-0",
            contract.POD_IP_ENV: "127.0.0.1",
            contract.STATUS_PORT_ENV: str(pick_free_ports(1)[0]),
            contract.TERMINATION_LOG_ENV: str(scratch / "termination-log"),
            contract.DATA_DIR_ENV: str(self.data),
            contract.RUN_DIR_ENV: str(self.run_dir),
            contract.SCRATCH_DIR_ENV: str(scratch),
        }
        self.attempts += 1
        return Attempt(self, scratch, {**os.environ, **variables})


class Attempt:
    """A running agent and what is below it."""

    def __init__(self, job: Job, scratch: Path, environment: dict[str, str]) -> None:
        self.job, self._scratch = job, scratch
        self.output = scratch / "output"
        with self.output.open("wb") as output:
            command = [sys.executable, "-m", contract.AGENT_MODULE, "train"]
            self.agent = psutil.Popen(command, env=environment, stdout=output, stderr=output, start_new_session=True)
        self._below: dict[int, psutil.Process] = {}

    def read_rank(self, rank: int, *, retry: int) -> RankReading | None:
        return read_rank_record(self._scratch / f"ranks/{retry}/{rank}.record")

    def wait_for_step(self, step: int, *, retry: int, seconds: float = 300) -> bool:
        """Wait until rank 0 of a retry has taken `step` steps; False if the agent ended first."""
        deadline = time.monotonic() + seconds
        while self.agent.poll() is None:
            reading = self.read_rank(0, retry=retry)
            if reading is not None and reading.step is not None and reading.step >= step:
                return True
            assert time.monotonic() < deadline, f"step {step} not reached in {seconds} s:\n{self.read_output()}"
            time.sleep(0.002)
        return False

    def kill(self, kind: str, rank: int, *, retry: int) -> None:
        """Kill a process if it still lives, and remember all that were below the agent."""
        below = {process.pid: process for process in _children(self.agent)}
        self._below |= below
        victims = [self.agent]
        if kind == "torchrun":
            victims = [process for process in below.values() if _is_child(process, self.agent)]
        elif kind == "rank":
            reading = self.read_rank(rank, retry=retry)
            victims = [below[reading.pid]] if reading and reading.pid in below else []
        for victim in victims:
            with contextlib.suppress(psutil.NoSuchProcess):
                victim.kill()

    def wait(self, *, seconds: float = 400) -> int:
        try:
            return int(self.agent.wait(seconds))
        except psutil.TimeoutExpired:
            raise AssertionError(f"not done in {seconds} s:\n{self.read_output()}") from None

    def wait_for_survivors(self, *, seconds: float = 90) -> list[psutil.Process]:
        """Return what still lives of what was below the agent, some time after its death."""
        # psutil waits for a number: what has it now may be another process, where processes come and go by the thousand.
        same = [process for process in self._below.values() if process.is_running()]
        _, alive = psutil.wait_procs(same, timeout=seconds)
        return [process for process in alive if process.is_running()]

    def read_record(self) -> TerminationRecord:
        return TerminationRecord.from_wire(json.loads((self._scratch / "termination-log").read_text()))

    def read_output(self) -> str:
        return self.output.read_text(errors="replace")[-4000:]

    def destroy(self) -> None:
        """End whatever is left; a test that failed halfway must leave nothing."""
        for process in [*self._below.values(), *_children(self.agent), self.agent]:
            with contextlib.suppress(psutil.NoSuchProcess):  # some end by themselves just now
                process.send_signal(signal.SIGKILL)


def _is_child(process: psutil.Process, parent: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return bool(process.ppid() == parent.pid)
    return False


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return list(process.children(recursive=True))
    except psutil.NoSuchProcess:
        return []


@dataclass(frozen=True, kw_only=True, slots=True)
class Results:
    """All that a finished run has produced, as far as it must not depend on what happened to its processes."""

    steps: list[dict[str, Any]]
    """The run log's line of each step, in order."""
    validations: list[dict[str, Any]]
    weights: str
    """SHA-256 of the exported model."""
    state: dict[str, str]
    """SHA-256 of each tensor of the last checkpoint: parameters, moments, random states."""


def read_results(run_dir: Path) -> Results:
    lines = [json.loads(line) for line in (run_dir / "log.jsonl").read_text().splitlines()]
    return Results(
        steps=[line for line in lines if line["kind"] == "step"],
        validations=[_without_time(line) for line in lines if line["kind"] == "validation"],
        weights=hashlib.sha256((run_dir / "export/model.safetensors").read_bytes()).hexdigest(),
        state=_read_state(run_dir / f"checkpoints/step-{STEPS:09d}"),
    )


def _without_time(line: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in line.items() if key not in ("time", "seconds")}


def _read_state(checkpoint: Path) -> dict[str, str]:
    entries: dict[str, Any] = {}
    planner = _EmptyStateDictLoadPlanner(flatten_state_dict=False, flatten_sharded_tensors=False)  # type: ignore[no-untyped-call]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")
        load(entries, storage_reader=FileSystemReader(checkpoint), planner=planner, no_dist=True)
    tensors = {name: value for name, value in planner.state_dict.items() if isinstance(value, torch.Tensor)}
    return {name: hashlib.sha256(value.contiguous().numpy().tobytes()).hexdigest() for name, value in tensors.items()}


def find_differences(reference: Results, other: Results) -> list[str]:
    """Compare two runs bit by bit; the log keeps every digit of a number, so equal text is equal bits."""
    differences = []
    for name in ("steps", "validations"):
        ours, theirs = getattr(reference, name), getattr(other, name)
        if len(ours) != len(theirs):
            differences.append(f"{name}: {len(ours)} lines, and {len(theirs)}")
        unequal = [(a, b) for a, b in zip(ours, theirs, strict=False) if json.dumps(a) != json.dumps(b)]
        if unequal:
            differences.append(f"{name}: {len(unequal)} lines differ, first {unequal[0][0]} and {unequal[0][1]}")
    if reference.weights != other.weights:
        differences.append(f"exported weights: {reference.weights[:12]} and {other.weights[:12]}")
    keys = sorted(reference.state.keys() | other.state.keys())
    changed = [key for key in keys if reference.state.get(key) != other.state.get(key)]
    if changed:
        differences.append(f"last checkpoint: {len(changed)} of {len(keys)} tensors differ, first {changed[0]}")
    return differences


def check_completeness(results: Results) -> None:
    """Make sure that a comparison of these results compares something: every step once, validations, all parts of the state."""
    assert [line["step"] for line in results.steps] == list(range(1, STEPS + 1))
    assert all("train/loss" in line for line in results.steps)
    assert len(results.validations) == STEPS // 25 + 1
    assert {name.split("/")[0] for name in results.state} == {"model", "optimizer", "average", "rng"}
