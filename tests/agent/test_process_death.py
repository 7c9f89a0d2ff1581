import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from oarlock_trainer import process_death

_SCRIPT = str(Path(process_death.__file__))


def test_child_is_killed_when_its_parent_is() -> None:
    parent_program = (
        "import os, subprocess, sys, time\n"
        f"child = subprocess.Popen([sys.executable, {_SCRIPT!r}, str(os.getpid()), 'sleep', '1000'])\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(1000)\n"
    )
    with subprocess.Popen([sys.executable, "-c", parent_program], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        _wait_until(lambda: child.name() == "sleep")
        parent.send_signal(signal.SIGKILL)

    _wait_until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)


def test_program_never_starts_when_its_parent_is_gone_already() -> None:
    ended = subprocess.run([sys.executable, _SCRIPT, "1", "echo", "started"], capture_output=True, check=False)

    assert ended.returncode == -signal.SIGKILL
    assert ended.stdout == b""


def _wait_until(condition: Callable[[], bool], *, seconds: float = 5) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
