"""Loopback addresses for pods: each gets one of its own, so that all of them can use the same ports on one machine."""

import secrets
import socket

_FIRST_OCTET, _SECOND_OCTETS = 127, range(64, 128)
_ATTEMPTS = 100


class AddressPool:
    """Hands out addresses of 127.64.0.0/10.

    They are drawn at random and tried, because other clusters on the same machine draw from the same range.
    """

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def take(self, ports: tuple[int, ...]) -> str:
        """Return an address at which nobody listens on `ports`.

        Raises:
            OSError: if there is none, because some program listens on every address of the machine.
        """
        for _ in range(_ATTEMPTS):
            address = _draw_address()
            if address not in self._taken and all(is_free(address, port) for port in ports):
                self._taken.add(address)
                return address
        raise OSError(
            f"no loopback address has the ports {', '.join(map(str, ports))} free: some program listens on all of them"
        )

    def give_back(self, address: str) -> None:
        self._taken.discard(address)


def _draw_address() -> str:
    second = secrets.choice(_SECOND_OCTETS)
    return f"{_FIRST_OCTET}.{second}.{secrets.randbelow(256)}.{1 + secrets.randbelow(254)}"


def is_free(address: str, port: int) -> bool:
    """Say whether a program could listen at this address and port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do: a connection of the past that lingers in TIME_WAIT is no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return False
        return True


def find_free_port(preferred: int) -> int:
    """Return `preferred` if a program could listen on it at every address, else any such port."""
    if is_free("0.0.0.0", preferred):  # noqa: S104  # asked, not opened
        return preferred
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("0.0.0.0", 0))  # noqa: S104  # closed at once
        return int(probe.getsockname()[1])
