"""Contenders as the bench sees them: processes that are started, given turns, and ended."""

import contextlib
import importlib.util
import json
import os
import select
import socket
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from speed.setup import Setup
from speed.turns import DONE_ENV, END, GO, GO_ENV

PATIENCE_SECONDS = 1800.0
"""How long a turn may take; a first one on a GPU compiles."""
NEEDS = {"bare": (), "oarlock": (), "lightning": ("lightning",), "hugging face": ("transformers", "accelerate")}
"""Contenders by name, and the modules that each needs."""


class FailedContenderError(Exception):
    """A contender whose processes ended, or that did not answer."""


@dataclass(slots=True)
class Figures:
    """Seconds per step of each turn of one contender."""

    wall: list[float] = field(default_factory=list)
    """Of the slowest process."""
    processor: list[float] = field(default_factory=list)
    """Of all processes together."""


def find_absent(name: str) -> str:
    """Return why a contender cannot take part; empty if it can."""
    absent = [module for module in NEEDS[name] if importlib.util.find_spec(module) is None]
    return f"NOT RUN: {', '.join(absent)} is not installed (pip install 'oarlock[bench]')" if absent else ""


@dataclass(slots=True)
class _Rank:
    process: subprocess.Popen[bytes]
    go: int
    done: int


class Contender:
    """One contender's processes. Use it as a context: they end with it."""

    def __init__(self, name: str, setup: Setup, folder: Path, program: Path) -> None:
        self.name, self.figures = name, Figures()
        self._setup, self._folder, self._program = setup, folder, program
        self._ranks: list[_Rank] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for rank in self._ranks:
            with contextlib.suppress(OSError):
                os.write(rank.go, END)
        for rank in self._ranks:
            with contextlib.suppress(subprocess.TimeoutExpired):
                rank.process.wait(10)
            rank.process.kill()
            rank.process.wait()
            os.close(rank.go)
            os.close(rank.done)

    @property
    def log(self) -> Path:
        """What the processes print."""
        return self._folder / f"{self.name}.log"

    @property
    def run_folder(self) -> Path:
        return self._folder / f"run of {self.name}"

    def start(self) -> None:
        """Start the processes, which warm up with a stretch that is not measured."""
        port = find_free_port()
        for rank in range(self._setup.processes):
            self._ranks.append(self._start_rank(rank, port))

    def wait_until_warm(self) -> None:
        """Return when the processes have warmed up.

        Raises:
            FailedContenderError: if they cannot train.
        """
        self._read_turn()

    def take_turn(self) -> None:
        """Let the contender take one stretch of steps."""
        for rank in self._ranks:
            os.write(rank.go, GO)
        wall, processor = self._read_turn()
        self.figures.wall.append(wall)
        self.figures.processor.append(processor)

    def _start_rank(self, rank: int, port: int) -> _Rank:
        go_there, go_here = os.pipe()
        done_here, done_there = os.pipe()
        processes = str(self._setup.processes)
        threads = max(1, self._setup.cpus // self._setup.processes)
        environment = {
            **os.environ,
            "BENCH_SETUP": self._setup.to_json(),
            "OARLOCK_DATA_DIR": str(self._folder / "data"),
            "OARLOCK_RUN_DIR": str(self.run_folder),
            "OARLOCK_CPUS": str(self._setup.cpus),
            "OMP_NUM_THREADS": str(threads),
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": processes,
            "LOCAL_WORLD_SIZE": processes,
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
            "GROUP_RANK": "0",
            GO_ENV: str(go_there),
            DONE_ENV: str(done_there),
        }
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, str(self._program), "--measure", self.name],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(go_there, done_there),
                cwd=self._folder,
            )
        os.close(go_there)
        os.close(done_there)
        return _Rank(process=process, go=go_here, done=done_here)

    def _read_turn(self) -> tuple[float, float]:
        answers = [self._read_answer(rank) for rank in self._ranks]
        return max(wall for wall, _ in answers), sum(processor for _, processor in answers)

    def _read_answer(self, rank: _Rank) -> tuple[float, float]:
        deadline, answer = time.monotonic() + PATIENCE_SECONDS, b""
        while not answer.endswith(b"\n"):
            ready, _, _ = select.select([rank.done], [], [], max(0.0, deadline - time.monotonic()))
            part = os.read(rank.done, 4096) if ready else b""
            if not part:
                why = "has ended" if ready else f"does not answer for {PATIENCE_SECONDS:.0f} s"
                raise FailedContenderError(f"{self.name} {why}; the end of what it printed:\n{self._read_log()}")
            answer += part
        wall, processor = json.loads(answer)
        return wall, processor

    def _read_log(self) -> str:
        return self.log.read_text(errors="replace")[-2000:]

    def read_data_wait(self) -> float | None:
        """Return the median seconds of a step that went on waiting for data, where the contender's own log says it."""
        log = self.run_folder / "log.jsonl"
        lines = log.read_text().splitlines() if log.exists() else []
        waits = [wait for line in lines if (wait := json.loads(line).get("dataWaitSeconds")) is not None]
        return statistics.median(waits) if waits else None


def find_free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
