"""What a training process is told: the environment, read and checked once, as one frozen value.

Everything wrong is said at once, by variable, rule, finding and remedy. The operator sets all OARLOCK_* variables, the agent's
torchrun the ranks; by hand OARLOCK_RUN, OARLOCK_DATA_DIR and OARLOCK_RUN_DIR are enough. Pure: the environment is a parameter.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from oarlock_api.contract import (
    ATTEMPT_ENV,
    CODE_DIR_ENV,
    CPUS_ENV,
    DATA_DIR_ENV,
    FIRST_WEIGHTS_ENV,
    JOB_UID_ENV,
    JOIN_TIMEOUT_SECONDS_ENV,
    RUN_DIR_ENV,
    RUN_ENV,
)
from oarlock_api.run import WorkerRun
from oarlock_trainer.errors import ConfigError

# Set by torchrun; a process without a launcher is rank 0 of 1.
RANK_ENV = "RANK"
LOCAL_RANK_ENV = "LOCAL_RANK"
WORLD_SIZE_ENV = "WORLD_SIZE"
LOCAL_WORLD_SIZE_ENV = "LOCAL_WORLD_SIZE"

_DEFAULT_JOIN_TIMEOUT_SECONDS = 300
_REMEDY = "set it as the operator does (see oarlock_api.contract), or start the job with `oarlock run`"


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainerConfig:
    """One process of one attempt of a run."""

    run: WorkerRun
    job_uid: str
    attempt: int
    data_dir: Path
    """Folder that holds `dataset.json`."""
    run_dir: Path
    """The job's own folder on the checkpoint volume."""
    first_weights: Path | None
    """File with the weights that the model begins with, or the folder of the run that left them; None: they are random."""
    code_dir: Path | None
    """Folder with the files of `spec.code`, if the job has some."""
    rank: int
    local_rank: int
    processes: int
    """Processes of the whole job."""
    threads: int
    """Threads of this process, so that the pod's processes together use its cores."""
    join_timeout_seconds: int
    launched: bool
    """Whether a launcher such as torchrun started this process beside others."""

    @property
    def batch_size(self) -> int:
        """Samples in one optimizer step, over all processes."""
        return self.run.recipe.batch_size or 1


class _Reader:
    """Reads variables and remembers what is wrong with them."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self.findings: list[str] = []

    def text(self, name: str) -> str:
        value = self._environment.get(name, "")
        if not value:
            self.findings.append(f"{name} must be set, it is {'empty' if name in self._environment else 'absent'}")
        return value

    def number(self, name: str, *, default: int, least: int = 0) -> int:
        value = self._environment.get(name) or str(default)
        if not value.isdecimal() or int(value) < least:
            self.findings.append(f"{name} must be a whole number of at least {least}, got {value!r}")
            return default
        return int(value)

    def run(self) -> WorkerRun | None:
        value = self.text(RUN_ENV)
        if not value:
            return None
        try:
            return WorkerRun.from_wire(json.loads(value))
        except ValidationError as error:
            self.findings += [f"{RUN_ENV} {_place(e['loc'])}: {e['msg']}, got {e['input']!r}" for e in error.errors()]
        except ValueError as error:
            self.findings.append(f"{RUN_ENV} must be JSON: {error}")
        return None


def read_config(environment: Mapping[str, str], *, cpus: int) -> TrainerConfig:
    """Return the configuration of this process; `cpus` is how many cores there are if nobody says how many are ours.

    Raises:
        ConfigError: with everything that is wrong.
    """
    reader = _Reader(environment)
    run = reader.run()
    data_dir, run_dir = reader.text(DATA_DIR_ENV), reader.text(RUN_DIR_ENV)
    processes = reader.number(WORLD_SIZE_ENV, default=1, least=1)
    local_processes = reader.number(LOCAL_WORLD_SIZE_ENV, default=1, least=1)
    cores = reader.number(CPUS_ENV, default=cpus, least=1)
    rank, local_rank = reader.number(RANK_ENV, default=0), reader.number(LOCAL_RANK_ENV, default=0)
    attempt = reader.number(ATTEMPT_ENV, default=0)
    join = reader.number(JOIN_TIMEOUT_SECONDS_ENV, default=_DEFAULT_JOIN_TIMEOUT_SECONDS, least=1)
    if run is not None:
        reader.findings += _find_misfits(run, processes=processes)
    if run is None or reader.findings:
        raise ConfigError("; ".join(reader.findings), remedy=_REMEDY)
    return TrainerConfig(
        run=run,
        job_uid=environment.get(JOB_UID_ENV, ""),
        attempt=attempt,
        data_dir=Path(data_dir),
        run_dir=Path(run_dir),
        first_weights=Path(first) if (first := environment.get(FIRST_WEIGHTS_ENV)) else None,
        code_dir=Path(code) if (code := environment.get(CODE_DIR_ENV)) else None,
        rank=rank,
        local_rank=local_rank,
        processes=processes,
        threads=max(1, cores // local_processes),
        join_timeout_seconds=join,
        launched=RANK_ENV in environment,
    )


def _find_misfits(run: WorkerRun, *, processes: int) -> list[str]:
    batch_size = run.recipe.batch_size
    findings = []
    if batch_size is None:
        findings.append(f"{RUN_ENV} recipe.batchSize must be set, a run is resolved before it starts")
    elif batch_size < processes:
        findings.append(
            f"{RUN_ENV} recipe.batchSize must be at least the number of processes ({processes}), got {batch_size}: "
            "raise the batch size or start fewer processes"
        )
    if not run.sample_shape or min(run.sample_shape) < 1:
        findings.append(f"{RUN_ENV} sampleShape must be the sizes of a sample, got {run.sample_shape}")
    findings += [
        f"{RUN_ENV} {name} must be at least 1, got {value}"
        for name, value in (("steps", run.steps), ("trainSamples", run.train_samples))
        if value < 1
    ]
    return findings


def _place(location: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in location) or "value"
