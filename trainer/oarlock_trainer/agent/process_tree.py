"""All processes below the agent: started, reaped and, in the end, killed to the last one.

The agent is a subreaper, so that whatever loses its parent becomes the agent's child and cannot escape: not the ranks of a
torchrun that was killed, not a data worker of a rank that was. This is the only module that starts or kills processes.
"""

import contextlib
import ctypes
import os
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from oarlock_trainer.agent import procfs
from oarlock_trainer.agent.command_line import wrap_in_process_death

_PR_SET_CHILD_SUBREAPER = 36
_KILL_INTERVAL_SECONDS = 0.02


@dataclass(frozen=True, kw_only=True, slots=True)
class ProcessEnd:
    """How a process ended: one of `code` and `signal` is given, or neither where the kernel could not be asked in time."""

    code: int | None = None
    signal: int | None = None
    at: float
    """Seconds since 1970."""

    @classmethod
    def from_wait_status(cls, status: int | None, *, at: float) -> "ProcessEnd":
        if status is None:
            return cls(at=at)
        code = os.waitstatus_to_exitcode(status)
        return cls(signal=-code, at=at) if code < 0 else cls(code=code, at=at)

    def describe(self) -> str:
        if self.signal is not None:
            return f"was killed by {_signal_name(self.signal)}"
        return "ended without a word" if self.code is None else f"ended with exit code {self.code}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def become_subreaper() -> None:
    """Make every orphan below this process its child. Process 1 of a container is that anyway."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl(PR_SET_CHILD_SUBREAPER): {os.strerror(number)}")


def start(command: Sequence[str], *, environment: Mapping[str, str], output: int) -> int:
    """Start a program in a session of its own that dies with this process; `output` takes both its streams.

    Must be called in the main thread: the kernel ties the child to the life of the thread that started it.
    """
    wrapped = wrap_in_process_death(command, parent=os.getpid())
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_DUP2, output, 1),
        (os.POSIX_SPAWN_DUP2, output, 2),
    ]
    # Signals that this process handles or blocks must reach the child as they are by default.
    return os.posix_spawn(
        wrapped[0],
        wrapped,
        environment,
        file_actions=actions,
        setsigmask=(),
        setsigdef=(signal.SIGPIPE, signal.SIGINT, signal.SIGTERM, signal.SIGCHLD),
    )


def reap() -> dict[int, ProcessEnd]:
    """Collect every child that has ended, whoever started it."""
    ended: dict[int, ProcessEnd] = {}
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return ended
        if pid == 0:
            return ended
        ended[pid] = ProcessEnd.from_wait_status(status, at=time.time())


def kill_tree(*, timeout: float) -> dict[int, ProcessEnd]:
    """Kill everything below this process and return how its children ended.

    Raises:
        TimeoutError: if something is still there after `timeout` seconds, which only a device that does not answer can cause.
    """
    ended: dict[int, ProcessEnd] = {}
    deadline = time.monotonic() + timeout
    while True:
        for pid in procfs.list_descendants(os.getpid()):
            send_signal(pid, signal.SIGKILL)
        ended |= reap()
        if not (left := procfs.list_descendants(os.getpid())):
            return ended
        if time.monotonic() > deadline:
            raise TimeoutError(f"processes {left} cannot be killed: they wait for a device or a volume that hangs")
        time.sleep(_KILL_INTERVAL_SECONDS)


def send_signal(pid: int, number: int) -> None:
    """Send a signal; a process that is gone does not matter."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
