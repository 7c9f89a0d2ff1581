"""Turn into another program that the kernel kills as soon as the process that started it is gone.

Run as a script, never imported: `die_with_parent.py PARENT_PID PROGRAM ARGUMENTS...`. A test process that gets SIGKILL
cannot clean up after itself, so the kernel has to.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    parent, command = int(sys.argv[1]), sys.argv[2:]
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    # The parent may have died before the line above took effect.
    if os.getppid() == parent:
        os.execv(command[0], command)


if __name__ == "__main__":
    main()
