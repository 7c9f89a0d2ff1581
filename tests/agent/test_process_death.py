import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from agent.pods import lives

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

    _wait_until(lambda: not lives(child))


def test_program_never_starts_when_its_parent_is_gone_already() -> None:
    ended = subprocess.run([sys.executable, _SCRIPT, "1", "echo", "started"], capture_output=True, check=False)

    assert ended.returncode == -signal.SIGKILL
    assert ended.stdout == b""


def test_rank_ends_at_once_when_its_launcher_died_before_it_could_ask() -> None:
    """The parent that it finds is then whoever adopted it, which must not pass for the launcher."""
    program = (
        "from oarlock_trainer.process_death import die_with_parent\ndie_with_parent()\nprint('goes on', flush=True)\n"
    )
    orphan = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, process_death.LAUNCHER_PID_ENV: "999999999"},
        capture_output=True,
        check=False,
    )

    assert (orphan.returncode, orphan.stdout) == (-signal.SIGKILL, b"")


def test_processes_of_a_rank_die_with_the_rank_when_they_ask_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(process_death.LAUNCHER_PID_ENV, str(os.getpid()))
    worker = "from oarlock_trainer.process_death import die_with_parent; die_with_parent(); print('worker', flush=True)"
    rank = (
        "import subprocess, sys\nfrom oarlock_trainer.process_death import die_with_parent\ndie_with_parent()\n"
        f"subprocess.run([sys.executable, '-c', {worker!r}], check=True)\n"
    )

    assert subprocess.run([sys.executable, "-c", rank], capture_output=True, check=True).stdout == b"worker\n"


def _wait_until(condition: Callable[[], bool], *, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
