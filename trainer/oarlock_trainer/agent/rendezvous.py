"""Waiting until node 0 has a name. torchrun would wait too, but end without saying that the name was the trouble."""

import socket
import threading
import time
from collections.abc import Callable

from oarlock_trainer.errors import RendezvousError

_LOOKUP_INTERVAL_SECONDS = 1.0
_WAIT_SECONDS = 0.5


def wait_for_name(
    endpoint: str, *, timeout: float, wait: Callable[[float], None], is_stopped: Callable[[], bool]
) -> float:
    """Wait until the host of `endpoint` resolves, or until stopped; return the seconds that this took.

    Raises:
        RendezvousError: if it does not within `timeout` seconds.
    """
    host = endpoint.rpartition(":")[0].strip("[]")
    lookup = _Lookup(host)
    started = time.monotonic()
    while not lookup.found.is_set() and not is_stopped():
        if time.monotonic() - started > timeout:
            lookup.cancelled.set()
            raise RendezvousError(
                f"node 0 has no address: {host} was not found within {timeout:.0f} s ({lookup.error})",
                remedy="see that the pod of node 0 is scheduled, and that DNS answers in this namespace",
            )
        wait(_WAIT_SECONDS)
    lookup.cancelled.set()
    return time.monotonic() - started


class _Lookup:
    """Asks in a thread of its own, since a question to DNS can take longer than SIGTERM may wait."""

    def __init__(self, host: str) -> None:
        self.found, self.cancelled = threading.Event(), threading.Event()
        self.error = "no answer"
        threading.Thread(target=self._run, args=(host,), name="rendezvous-lookup", daemon=True).start()

    def _run(self, host: str) -> None:
        while not self.cancelled.is_set():
            try:
                socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
            except OSError as error:
                self.error = str(error)
                self.cancelled.wait(_LOOKUP_INTERVAL_SECONDS)
            else:
                self.found.set()
                return
