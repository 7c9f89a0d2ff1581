"""Real agents in processes of their own, with stand-ins for torchrun and the importer below them."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from control_plane.ports import pick_free_ports
from oarlock_api import contract
from oarlock_api.contract import TerminationRecord

_HERE = Path(__file__).parent


def make_environment(folder: Path, **changes: str) -> dict[str, str]:
    """Return the variables of a one-node pod with two processes; `changes` by name without OARLOCK_."""
    variables = {
        contract.CONTRACT_VERSION_ENV: str(contract.CONTRACT_VERSION),
        contract.RUN_ENV: "{}",
        contract.JOB_UID_ENV: "4f7d2c1e-0000-4000-8000-000000000001",
        contract.RUN_HASH_ENV: "0123456789abcdef",
        contract.ATTEMPT_ENV: "2",
        contract.NODES_ENV: "1",
        contract.NODE_RANK_ENV: "0",
        contract.PROCESSES_PER_NODE_ENV: "2",
        contract.CPUS_ENV: "2",
        contract.PROGRESS_DEADLINE_SECONDS_ENV: "60",
        contract.GRACE_PERIOD_SECONDS_ENV: "30",
        contract.POD_NAME_ENV: "job-1-0",
        contract.POD_IP_ENV: "127.0.0.1",
        contract.STATUS_PORT_ENV: str(pick_free_ports(1)[0]),
        contract.TERMINATION_LOG_ENV: str(folder / "termination-log"),
        contract.DATA_DIR_ENV: str(folder / "data"),
        contract.RUN_DIR_ENV: str(folder / "run"),
        contract.SCRATCH_DIR_ENV: str(folder / "scratch"),
    }
    return {**variables, **{f"OARLOCK_{name}": value for name, value in changes.items()}}


class Pod:
    """One agent and all that it runs."""

    def __init__(self, command: list[str], environment: dict[str, str], folder: Path) -> None:
        self.environment = environment
        self.stdout = folder / "stdout"
        with self.stdout.open("wb") as output:
            self.agent = psutil.Popen(
                command, env={**os.environ, **environment}, stdout=output, stderr=output, start_new_session=True
            )
        self._seen: dict[int, psutil.Process] = {}

    def wait(self, *, seconds: float = 180) -> int:
        """Wait for the agent's end and return its exit code, remembering all processes below it on the way."""
        deadline = time.monotonic() + seconds
        while self.agent.poll() is None:
            if time.monotonic() > deadline:
                raise AssertionError(f"the agent is still there after {seconds} s:\n{self.read_output()}")
            self.processes()
            time.sleep(0.05)
        return int(self.agent.returncode)

    def processes(self) -> list[psutil.Process]:
        """Return all living processes below the agent."""
        try:
            found = self.agent.children(recursive=True)
        except psutil.NoSuchProcess:
            found = []
        self._seen |= {process.pid: process for process in found}
        return [process for process in found if process.is_running()]

    def survivors(self) -> list[psutil.Process]:
        """Return what was ever seen below the agent and still lives."""
        return [process for process in self._seen.values() if lives(process)]

    def record(self) -> TerminationRecord:
        return TerminationRecord.from_wire(json.loads(Path(self.environment[contract.TERMINATION_LOG_ENV]).read_text()))

    def read(self, path: str) -> str:
        address = f"{self.environment[contract.POD_IP_ENV]}:{self.environment[contract.STATUS_PORT_ENV]}"
        with urllib.request.urlopen(f"http://{address}{path}", timeout=20) as answer:
            return str(answer.read().decode())

    def status(self) -> dict[str, Any]:
        return dict(json.loads(self.read(contract.STATUS_PATH)))

    def wait_for(self, condition: Callable[[dict[str, Any]], Any], *, seconds: float = 180) -> dict[str, Any]:
        """Wait until the status fulfils a condition, and return it."""
        deadline = time.monotonic() + seconds
        status: dict[str, Any] = {}
        while time.monotonic() < deadline and self.agent.poll() is None:
            try:
                status = self.status()
            except OSError:
                status = {}
            if status and condition(status):
                self.processes()
                return status
            time.sleep(0.05)
        raise AssertionError(f"not reached; last status {status}, output:\n{self.read_output()}")

    def read_output(self) -> str:
        return self.stdout.read_text(errors="replace")[-5000:]

    def destroy(self) -> None:
        self.processes()
        for process in [*self._seen.values(), self.agent]:
            with suppress(psutil.NoSuchProcess):  # some end by themselves just now
                process.send_signal(signal.SIGKILL)
        self.agent.wait()


def lives(process: psutil.Process) -> bool:
    """Whether a process runs still: one that nobody has waited for yet does not."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:  # it ended between the two questions
        return False


@contextmanager
def running_pod(folder: Path, scenario: str, *, mode: str = "train", **changes: str) -> Iterator[Pod]:
    """Run a pod in which the ranks, or the importer, play a scenario."""
    program = "fake_torchrun.py" if mode == "train" else "rank_scenarios.py"
    launcher = [sys.executable, str(_HERE / program), scenario]
    pod = Pod(
        [sys.executable, str(_HERE / "agent_driver.py"), mode, *launcher], make_environment(folder, **changes), folder
    )
    try:
        yield pod
    finally:
        pod.destroy()


def run_agent_module(mode: str, environment: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    """Run the agent as pods do, for cases in which it ends at once."""
    return subprocess.run(
        [sys.executable, "-m", "oarlock_trainer.agent", mode],
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
