"""Which TCP connections a process of this pod has, read from /proc: no packet is sent for it."""

import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_TABLES = (_PROC / "net/tcp", _PROC / "net/tcp6")
_ESTABLISHED, _LISTENING = "01", "0A"
# Fields of a line of /proc/net/tcp.
_LOCAL, _REMOTE, _STATE, _INODE = 1, 2, 3, 9
_SOCKET = re.compile(r"socket:\[(\d+)\]")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Line:
    local_port: int
    remote_port: int
    state: str
    inode: str


def is_connected(pid: int, *, port: int) -> bool:
    """Say whether a process holds a connection to `port` of any host."""
    return holds(
        pid, {line.inode for line in _read_tables() if line.state == _ESTABLISHED and line.remote_port == port}
    )


def find_listeners(port: int) -> set[str]:
    """Return the inodes of the sockets that listen on `port`, whoever holds them."""
    return {line.inode for line in _read_tables() if line.state == _LISTENING and line.local_port == port}


def holds(pid: int, inodes: set[str]) -> bool:
    """Say whether a process holds one of these sockets. One that is ending holds none, and its sockets outlive it a little."""
    return bool(inodes & _list_sockets(pid)) if inodes else False


def _read_tables() -> Iterator[_Line]:
    for table in _TABLES:
        try:
            lines = table.read_text().splitlines()[1:]
        except OSError:  # a kernel without this family
            continue
        for fields in map(str.split, lines):
            yield _Line(
                local_port=int(fields[_LOCAL].rpartition(":")[2], 16),
                remote_port=int(fields[_REMOTE].rpartition(":")[2], 16),
                state=fields[_STATE],
                inode=fields[_INODE],
            )


def _list_sockets(pid: int) -> set[str]:
    """Return the inodes of a process's sockets; none if it is gone or not ours."""
    found: set[str] = set()
    with contextlib.suppress(OSError):
        for entry in os.scandir(_PROC / str(pid) / "fd"):
            with contextlib.suppress(OSError):  # closed meanwhile
                if match := _SOCKET.fullmatch(str(Path(entry.path).readlink())):
                    found.add(match[1])
    return found
