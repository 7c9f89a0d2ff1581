"""The operator as users run it: `python -m oarlock_operator` in a process of its own, that may be killed and started again."""

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from control_plane.ports import pick_free_ports
from control_plane.processes import Process

_PATIENCE_SECONDS = 150.0
_COMMAND = [sys.executable, "-m", "oarlock_operator"]
_EAGER = {"PROGRESS_MIN_SECONDS": "0.5", "PROGRESS_WRITE_SECONDS": "1", "RETRY_DELAY_SECONDS": "1"}


class OperatorProcess:
    """Start with `with OperatorProcess(kubeconfig, folder, namespace=…)`; dies with the tests."""

    def __init__(
        self, kubeconfig: Path, folder: Path, *, namespace: str = "", settings: Mapping[str, str] | None = None
    ) -> None:
        self.probe_port, self.metrics_port = pick_free_ports(2)
        own = {"NAMESPACE": namespace, "PROBE_PORT": self.probe_port, "METRICS_PORT": self.metrics_port}
        chosen = {**_EAGER, **own, **(settings or {})}
        environment = {f"OARLOCK_OPERATOR_{name}": str(value) for name, value in chosen.items()}
        folder.mkdir(parents=True, exist_ok=True)
        self.log = folder / "operator.log"
        self._environment = {**os.environ, "KUBECONFIG": str(kubeconfig), **environment}
        self._process = Process("operator", _COMMAND, self.log, environment=self._environment)

    def start(self, *, wait: bool = True) -> Self:
        """Start the operator, and return when it is ready."""
        self._process.start()
        if wait:
            self.wait_until_ready()
        return self

    @property
    def pid(self) -> int:
        """Process id of the operator, which runs.

        Raises:
            RuntimeError: it does not.
        """
        if self._process.pid is None:
            raise RuntimeError("the operator is not running")
        return self._process.pid

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not self.is_ready():
            self._process.check()
            if time.monotonic() > deadline:
                raise TimeoutError(f"the operator is not ready: {self.read_log()[-3000:]}")
            time.sleep(0.05)

    def kill(self) -> None:
        """SIGKILL: whatever it was about to do stays undone."""
        self._process.stop()

    def stop(self) -> None:
        self._process.stop(grace=10)

    def wait_for_exit(self, seconds: float = _PATIENCE_SECONDS) -> int:
        """Return the exit code of an operator that ends by itself."""
        deadline = time.monotonic() + seconds
        while self._process.exit_code is None:
            if time.monotonic() > deadline:
                raise TimeoutError(f"the operator goes on: {self.read_log()[-3000:]}")
            time.sleep(0.05)
        return self._process.exit_code

    def is_ready(self) -> bool:
        return self.ask(self.probe_port, "/readyz")[0] == 200

    def is_leading(self) -> bool:
        """Whether it says that it is the one that writes."""
        return "oarlock_operator_leading 1.0" in self.ask(self.metrics_port, "/metrics")[1]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run one errand of the operator's program to its end."""
        command = [*_COMMAND, *arguments]
        return subprocess.run(
            command, env=self._environment, capture_output=True, text=True, check=False, timeout=_PATIENCE_SECONDS
        )

    def ask(self, port: int, path: str) -> tuple[int, str]:
        """Return status and text of an answer; 0 if there is none."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def check(self) -> None:
        self._process.check()

    def read_log(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def show_log(self) -> None:
        """Print the end of the log and how the operator is: pytest shows it if the test failed."""
        state = "runs" if self._process.is_running() else f"has ended with {self._process.exit_code}"
        print(f"the operator {state}, ready: {self.is_ready()}; the end of its log:\n{self.read_log()[-8000:]}")  # noqa: T201

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.show_log()
        self.stop()
