"""Holds the processes of one pod: starts its command, passes signals on, and leaves nothing of it behind.

Run as a script by the process node, standard library only; its arguments are one JSON object and the command. Its standard input is its tie to the node: the letter T asks for
SIGTERM to the command, K for SIGKILL to everything, and the end of the stream means that the node is gone, which ends
everything at once, whatever killed the node. It is the subreaper of the pod's whole process tree, as process 1 of a container
is. What happened goes to standard output, one JSON object a line, and how it ended into a file that outlives both.
"""

import ctypes
import errno
import json
import os
import select
import signal
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_CONTROL, _REPORT = 0, 1
_POLL_SECONDS = 0.01


def main() -> None:
    options, command = json.loads(sys.argv[1]), sys.argv[2:]
    result = options["result"]
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    woken = _open_wakeup_pipe()
    pid, problem = _start(command, options)
    if problem:
        _finish(result, {"error": problem})
        return
    _report({"started": pid})
    status = _hold(pid, woken)
    _kill_descendants()
    _finish(result, _describe(status))


def _prctl(option: int, value: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option}) failed: Linux 3.4 or newer is needed")


def _open_wakeup_pipe() -> int:
    """Return a descriptor that becomes readable when a child ends."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    return reader


def _start(command: list[str], options: dict[str, Any]) -> tuple[int, str]:
    """Start the command; return its process id and, if it could not be started, why."""
    keeper = os.getpid()
    reader, writer = os.pipe()  # closed by a successful exec, so that the end of the stream means success
    pid = os.fork()
    if pid == 0:
        _become(command, options, keeper=keeper, failed=writer)
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        return pid, stream.read().decode()


def _become(command: list[str], options: dict[str, Any], *, keeper: int, failed: int) -> NoReturn:
    """Turn the forked child into the command."""
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != keeper:  # it died before the line above took effect
            os._exit(1)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        output = os.open(options["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.chdir(options["folder"])
        if options["writable"] is not None:
            _fence_in(options["writable"])
        # Python ignores SIGPIPE, and an ignored signal would stay ignored in the command.
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        os.execvp(command[0], command)  # noqa: S606  # the command of the pod, without a shell
    except OSError as error:
        os.write(failed, f"cannot start {command[0]}: {os.strerror(error.errno or 0)}".encode())
    os._exit(127)


def _fence_in(writable: list[str]) -> None:
    # Isolated from installed packages, this script has only its own folder to import from.
    sys.path.append(str(Path(__file__).parent))
    import write_fence  # type: ignore[import-not-found]  # it is beside this script

    write_fence.fence_in(writable)


def _hold(pid: int, woken: int) -> int:
    """Obey the node until the command has ended; return its wait status."""
    while True:
        readable, _, _ = select.select([_CONTROL, woken], [], [])
        if woken in readable:
            os.read(woken, 4096)
            status = _reap(pid)
            if status is not None:
                return status
        if _CONTROL in readable:
            _obey(os.read(_CONTROL, 1), pid)


def _obey(order: bytes, pid: int) -> None:
    if order == b"T":
        os.kill(pid, signal.SIGTERM)
        return
    _kill_descendants(spare_zombie=pid)
    if order == b"":  # the node is gone: nobody is left to report to
        sys.exit(1)


def _reap(pid: int) -> int | None:
    """Collect every child that ended; return the wait status of the command if it is among them."""
    found = None
    while True:
        try:
            ended, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return found
        if ended == 0:
            return found
        if ended == pid:
            found = status


def _kill_descendants(*, spare_zombie: int = 0) -> None:
    """Kill until nothing is left: what loses its parent becomes a child of this process, so nothing can hide.

    `spare_zombie` is killed too, but stays to be collected by the caller, who needs its status.
    """
    while living := _list_descendants():
        for pid in living:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        if not spare_zombie:
            _reap(0)
        time.sleep(_POLL_SECONDS)


def _list_descendants() -> list[int]:
    """Return the living processes below this one; zombies are dead."""
    parents: dict[int, int] = {}
    for entry in os.listdir("/proc"):  # noqa: PTH208  # by far the fastest way, and this runs in a hurry
        if entry.isdigit() and (parent := _read_parent(int(entry))) is not None:
            parents[int(entry)] = parent
    found: list[int] = []
    level = {os.getpid()}
    while level := {pid for pid, parent in parents.items() if parent in level}:
        found.extend(level)
    return found


def _read_parent(pid: int) -> int | None:
    try:
        state, parent = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[:2]
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ESRCH):
            return None
        raise
    # Keep zombies out unless they may still have living children: the kernel has given those to us already.
    return None if state in "ZX" else int(parent)


def _describe(status: int) -> dict[str, Any]:
    code = os.waitstatus_to_exitcode(status)
    return {"exitCode": code, "signal": 0} if code >= 0 else {"exitCode": 128 - code, "signal": -code}


def _finish(path: str, outcome: dict[str, Any]) -> None:
    outcome = {**outcome, "finished": time.time()}
    partial = Path(path + ".partial")
    partial.write_text(json.dumps(outcome))
    partial.rename(path)
    _report(outcome)


def _report(message: dict[str, Any]) -> None:
    try:
        os.write(_REPORT, json.dumps(message).encode() + b"\n")
    except OSError as error:
        if error.errno not in (errno.EPIPE, errno.EBADF):
            raise


if __name__ == "__main__":
    main()
