"""Child processes that never outlive the tests: each is started by a thread that lives as long as this process, is killed
by the kernel when this process is gone, and is only ever ended by its own process id."""

import contextlib
import functools
import os
import queue
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path

from control_plane.errors import ControlPlaneError

_WRAPPER = Path(__file__).with_name("die_with_parent.py")
# Three lines for each of the API server's connections to etcd, again and again.
_NOISE = re.compile(r"\] (parsed scheme: |ccResolverWrapper: |ClientConn switching )")
_Start = Callable[[], subprocess.Popen[bytes]]


class Process:
    """One component: a program with its log file, started and stopped as often as a test needs."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        log: Path,
        *,
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
    ) -> None:
        self.name, self.command, self.log = name, list(command), log
        self._environment, self._folder = environment, folder
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        return self._child.pid if self._child else None

    @property
    def exit_code(self) -> int | None:
        return self._child.poll() if self._child else None

    def is_running(self) -> bool:
        return self._child is not None and self._child.poll() is None

    def start(self) -> None:
        command = [sys.executable, "-I", "-S", str(_WRAPPER), str(os.getpid()), *self.command]
        with self.log.open("ab") as log:
            self._child = _run_in_lasting_thread(
                # A session of its own: Ctrl-C reaches the tests alone, which then stop the components in order.
                lambda: subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=self._environment,
                    cwd=self._folder,
                    start_new_session=True,
                )
            )

    def stop(self, *, grace: float = 0) -> None:
        """End the process, with SIGTERM first where it is given time, and wait until it is gone."""
        if self._child is None:
            return
        if grace and self._child.poll() is None:
            self._child.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(grace)
        if self._child.poll() is None:
            # Its own session holds it and what it started itself, such as the compiler's children, and nothing else.
            os.killpg(self._child.pid, signal.SIGKILL)
        self._child.wait()
        self._child = None

    def signal(self, number: signal.Signals) -> None:
        if self._child is not None:
            self._child.send_signal(number)

    def read_log(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def check(self) -> None:
        """Raise an error with the end of the log if the process died on its own."""
        if self._child is not None and self._child.poll() is not None:
            raise ControlPlaneError(f"{self.name} ended with {self._describe_exit()}.\n{self.build_log_excerpt()}")

    def build_log_excerpt(self, lines: int = 20) -> str:
        tail = [line for line in self.read_log().splitlines() if not _NOISE.search(line)][-lines:]
        return f"The last lines of {self.log}:\n" + "\n".join(f"  {line}" for line in tail)

    def _describe_exit(self) -> str:
        code = self._child.returncode if self._child else 0
        return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"


def _run_in_lasting_thread(start: _Start) -> subprocess.Popen[bytes]:
    result: Future[subprocess.Popen[bytes]] = Future()
    # By process id: a thread does not survive a fork, so a forked test process gets one of its own.
    _requests(os.getpid()).put((start, result))
    return result.result()


@functools.cache
def _requests(_process: int) -> queue.SimpleQueue[tuple[_Start, Future[subprocess.Popen[bytes]]]]:
    """Return the queue of the thread that starts all children.

    PR_SET_PDEATHSIG fires when the *thread* that forked ends, so a control plane started from a short-lived thread would
    lose its components at once.
    """
    requests: queue.SimpleQueue[tuple[_Start, Future[subprocess.Popen[bytes]]]] = queue.SimpleQueue()

    def serve() -> None:
        while True:
            start, result = requests.get()
            try:
                result.set_result(start())
            except OSError as error:
                result.set_exception(error)

    threading.Thread(target=serve, name="control-plane-starter", daemon=True).start()
    return requests
