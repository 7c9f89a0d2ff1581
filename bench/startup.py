"""How long a job takes from exec to its first step, by phase, and from the SIGKILL of a rank to its next new step.

    python bench/startup.py                                               LeNet on MNIST's size, one process on CPU
    python bench/startup.py --gpu --model resnet50 --side 224 --channels 3 --classes 1000 --batch 256 --bf16 --compile

In each round the agent is started as a pod starts it, with torchrun and the trainer below. The phases are those that the rank's
own record tells: `starting` is Python and its imports, `rendezvous` meeting the other ranks, `loading` data, model, optimizer and
checkpoint, `compiling` the rehearsal of a step with torch.compile or without, `firstStep` the step itself. What went before the
rank's process is `agent and torchrun`. When a checkpoint is safe, rank 0 is killed; the agent starts torchrun again in place, and
the clock runs until a step is done that had not been done before; `agent and torchrun` is then all that no phase of the new rank
accounts for, steps that are done again included. Medians over the rounds.
"""

import argparse
import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from speed.contenders import find_free_port
from speed.setup import Setup, make_run, write_data

from oarlock_api import contract
from oarlock_trainer.rank_record import RankReading, read_rank_record

T = TypeVar("T")

BEFORE, TOTAL = "agent and torchrun", "to the first step"
NEW_STEP = "to the next new step"
PATIENCE_SECONDS = 900.0
_LOOK_SECONDS = 0.001


class StuckError(Exception):
    """Something that was waited for did not happen."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Round:
    """Seconds by phase."""

    start: dict[str, float]
    again: dict[str, float]
    """After the kill."""


class Pod:
    """An agent, and the ranks below it."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.scratch, self.log = folder, folder / "output"
        self.began = time.monotonic()
        with self.log.open("wb") as log:
            self.agent = subprocess.Popen(
                [sys.executable, "-m", contract.AGENT_MODULE, "train"],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def read(self, retry: int) -> RankReading | None:
        return read_rank_record(self.scratch / f"ranks/{retry}/0.record")

    def wait_for(self, find: Callable[[], T | None], what: str) -> T:
        """Return what `find` finds, as soon as it does.

        Raises:
            StuckError: if the agent has ended, or it takes too long.
        """
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (found := find()) is None:
            if self.agent.poll() is not None or time.monotonic() > deadline:
                raise StuckError(f"{what} did not come; the end of the log:\n{self.log.read_text()[-2000:]}")
            time.sleep(_LOOK_SECONDS)
        return found

    def wait_for_step(self, step: int, *, retry: int) -> float:
        """Return when a step was done, on the monotonic clock."""

        def find() -> float | None:
            reading = self.read(retry)
            return time.monotonic() if reading and reading.step is not None and reading.step >= step else None

        return self.wait_for(find, f"step {step}")

    def wait_for_phases(self, retry: int) -> dict[str, float]:
        """Return the rank's own account of its start."""

        def find() -> dict[str, float] | None:
            reading = self.read(retry)
            return reading.report.get("startup_seconds") if reading else None

        return self.wait_for(find, "the account of the start")

    def wait_for_checkpoint(self) -> RankReading:
        """Return the record as soon as a checkpoint is safe."""

        def find() -> RankReading | None:
            reading = self.read(0)
            return reading if reading and reading.report.get("checkpoint_latest") else None

        return self.wait_for(find, "a checkpoint")

    def end(self) -> None:
        self.agent.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.agent.wait(60)
        self.agent.kill()
        self.agent.wait()


def measure(pod: Pod) -> Round:
    first = pod.wait_for_step(1, retry=0)
    start = account(pod.wait_for_phases(0), first - pod.began)
    victim = pod.wait_for_checkpoint()
    os.kill(victim.pid, signal.SIGKILL)
    killed = time.monotonic()
    resumed = pod.wait_for_phases(1)
    before = pod.read(0)
    furthest = before.step if before and before.step is not None else 0
    new = pod.wait_for_step(furthest + 1, retry=1) - killed
    return Round(start=start, again={**account(resumed, new), TOTAL: new})


def account(phases: dict[str, float], total: float) -> dict[str, float]:
    """Return the phases in their order, with what went before the rank's process."""
    return {BEFORE: max(0.0, total - sum(phases.values())), **phases, TOTAL: total}


def build_environment(setup: Setup, data: Path, folder: Path) -> dict[str, str]:
    run = make_run(setup).to_wire() | {"checkpointEvery": {"steps": 20}}
    variables = {
        contract.CONTRACT_VERSION_ENV: contract.CONTRACT_VERSION,
        contract.RUN_ENV: json.dumps(run),
        contract.JOB_UID_ENV: "00000000-0000-4000-8000-000000000000",
        contract.RUN_HASH_ENV: "bench",
        contract.ATTEMPT_ENV: 0,
        contract.NODES_ENV: 1,
        contract.NODE_RANK_ENV: 0,
        contract.PROCESSES_PER_NODE_ENV: setup.processes,
        contract.CPUS_ENV: setup.cpus,
        contract.PROGRESS_DEADLINE_SECONDS_ENV: int(PATIENCE_SECONDS),
        contract.GRACE_PERIOD_SECONDS_ENV: 30,
        contract.POD_NAME_ENV: "bench-0-0",
        contract.POD_IP_ENV: "127.0.0.1",
        contract.STATUS_PORT_ENV: find_free_port(),
        contract.TERMINATION_LOG_ENV: folder / "termination-log",
        contract.DATA_DIR_ENV: data,
        contract.RUN_DIR_ENV: folder / "run",
        contract.SCRATCH_DIR_ENV: folder,
    }
    return {**os.environ, **{name: str(value) for name, value in variables.items()}}


def repeat(setup: Setup, rounds: int) -> Iterator[Round]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        setup = write_data(setup, folder / "data")
        for number in range(rounds):
            print(f"round {number + 1} of {rounds}", file=sys.stderr, flush=True)
            scratch = folder / f"pod-{number}"
            scratch.mkdir()
            pod = Pod(scratch, build_environment(setup, folder / "data", scratch))
            try:
                yield measure(pod)
            finally:
                pod.end()


def describe(rounds: list[Round]) -> Iterator[str]:
    """Yield the lines of the table."""
    yield f"{'seconds':24}{'first start':>12}{'after SIGKILL':>15}"
    for name in dict.fromkeys(name for each in rounds for name in (*each.start, *each.again)):
        if name != TOTAL:
            yield describe_row(
                name, [each.start.get(name) for each in rounds], [each.again.get(name) for each in rounds]
            )
    yield describe_row(TOTAL, [each.start[TOTAL] for each in rounds], [None])
    yield describe_row(NEW_STEP, [None], [each.again[TOTAL] for each in rounds])


def describe_row(name: str, start: list[float | None], again: list[float | None]) -> str:
    return f"{name:24}{describe_median(start):>12}{describe_median(again):>15}"


def describe_median(seconds: list[float | None]) -> str:
    known = [each for each in seconds if each is not None]
    return f"{statistics.median(known):.3f}" if known else ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="lenet")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--side", type=int, default=28)
    parser.add_argument("--channels", type=int, default=1)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--samples", type=int, default=4096)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--gpu", action="store_true")
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--compile", action="store_true", dest="compiles")
    options = vars(parser.parse_args())
    rounds = options.pop("rounds")
    # Long enough that no run ends before it is killed.
    setup = Setup(**options, stretch=1000, pairs=1000, cpus=options["processes"], workers=0)
    measured = list(repeat(setup, rounds))
    where = "GPU" if setup.gpu else "CPU"
    print(
        f"{setup.model}, {setup.processes} process{'es' * (setup.processes > 1)} on {where}, medians of {rounds} rounds"
    )
    print("\n".join(describe(measured)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
