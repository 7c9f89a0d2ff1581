"""Ties a process to the life of the one that started it, so that a SIGKILLed agent or torchrun leaves nothing alive.

Imported, it offers `die_with_parent` to ranks and data workers. Run as a script (`process_death.py PARENT_PID PROGRAM
ARGUMENTS...`) it becomes another program that dies with its parent: the agent starts torchrun that way, since torchrun
itself knows nothing of this. Standard library only; must not import anything of Oarlock, so that it starts in milliseconds.
"""

import ctypes
import os
import signal
import sys

LAUNCHER_PID_ENV = "OARLOCK_LAUNCHER_PID"
"""Set by this script for what it becomes; the first process below that asks to die with its parent takes it out again."""

_PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int | None = None) -> None:
    """Ask the kernel to SIGKILL this process when the thread that started it ends.

    The request survives `exec` and is not inherited by children, so every rank and every data worker calls this first thing.
    `parent` is the process id that the caller expects, by default the launcher that the agent started; if it is gone
    already, this process ends at once.
    """
    launcher = int(os.environ.pop(LAUNCHER_PID_ENV, "0"))
    expected = parent or (launcher if launcher not in (0, os.getpid()) else os.getppid())
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl(PR_SET_PDEATHSIG): {os.strerror(number)}")
    # The parent may have died before the kernel was asked; then nobody would send the signal.
    if os.getppid() != expected:
        os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    parent, command = int(sys.argv[1]), sys.argv[2:]
    # A session of its own: Ctrl-C on a terminal reaches the agent alone, which then stops the ranks in order.
    os.setsid()
    die_with_parent(parent)
    os.environ[LAUNCHER_PID_ENV] = str(os.getpid())
    os.execvp(command[0], command)  # noqa: S606  # no shell is wanted


if __name__ == "__main__":
    main()
