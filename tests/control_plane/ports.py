"""Free ports on the loopback interface that stay free: they lie below the range from which the kernel takes the ports of
outgoing connections, so a restarted component gets the same one again."""

import secrets
import socket
from contextlib import closing
from pathlib import Path

from control_plane.errors import ControlPlaneError

_FIRST = 15_000
_TRIES = 200


def pick_free_ports(count: int) -> list[int]:
    ports: list[int] = []
    last = _find_first_outgoing_port() - 1
    for _ in range(_TRIES):
        # Never from `random`: a test that seeds it would have all processes try the same ports at the same time.
        port = _FIRST + secrets.randbelow(last + 1 - _FIRST)
        if port not in ports and is_free(port):
            ports.append(port)
        if len(ports) == count:
            return ports
    raise ControlPlaneError(f"no {count} free ports between {_FIRST} and {last} on 127.0.0.1; end what occupies them")


def is_free(port: int) -> bool:
    with closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _find_first_outgoing_port() -> int:
    try:
        return max(_FIRST + 1000, int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0]))
    except OSError:
        return 32_768
