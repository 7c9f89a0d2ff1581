"""How this node finds the others: what its agent sees of the rendezvous until its ranks exist.

torchrun alone would wait, and end without saying whether the name, the network, the port or another node was the trouble. The
agent looks for itself, in a thread of its own, since a question to DNS can take longer than SIGTERM may wait. It sends nothing
but an empty connection, and none at all once its torchrun has joined.
"""

import socket
import threading
import time
from collections.abc import Callable

from oarlock_api.contract import JoinState, JoinStatus
from oarlock_trainer.agent import sockets
from oarlock_trainer.agent.config import AgentConfig
from oarlock_trainer.errors import RendezvousError

_LOOK_SECONDS = 1.0
_CONNECT_SECONDS = 3.0
_WAIT_SECONDS = 0.5
_MAX_DETAIL = 200


class JoinWatch:
    """What this node sees of the rendezvous. One writer, its thread; whoever reads sees one whole `view`."""

    def __init__(self, config: AgentConfig) -> None:
        host, _, port = config.rendezvous_endpoint.rpartition(":")
        self._config, self._host, self._port = config, host.strip("[]"), int(port)
        self._over = threading.Event()
        self._known = threading.Event()
        self._nobodys: set[str] = set()  # sockets on our port that were not our torchrun's at the last look
        self.launcher = 0
        """Process of torchrun, once it is started."""
        self.view = JoinStatus(state=JoinState.STARTING, since=time.time(), endpoint=config.rendezvous_endpoint)
        if config.node == 0:
            self._known.set()  # node 0 needs no name to find itself

    def start(self) -> None:
        """Begin to look."""
        threading.Thread(target=self._run, name="join-watch", daemon=True).start()

    def finish(self) -> None:
        """Look no more: this node's ranks exist, so all nodes have joined."""
        if not self._over.is_set():
            self._over.set()
            self._take(JoinState.JOINED, "")

    def wait_for_name(self, *, wait: Callable[[float], None], is_stopped: Callable[[], bool]) -> None:
        """Wait until node 0 has an address, or until stopped.

        Raises:
            RendezvousError: if it has none within the join timeout.
        """
        timeout, started = self._config.join_timeout, time.monotonic()
        while not self._known.is_set() and not is_stopped():
            if time.monotonic() - started > timeout:
                self._over.set()
                raise RendezvousError(
                    f"node 0 has no address: {self._host} was not found within {timeout:.0f} s ({self.view.detail})",
                    remedy="see that the pod of node 0 is scheduled, and that DNS answers in this namespace",
                )
            wait(_WAIT_SECONDS)

    def _run(self) -> None:
        look = self._look_at_home if self._config.node == 0 else self._look_for_node_zero
        while not self._over.is_set():
            state, detail = look()
            if not self._over.is_set():
                self._take(state, detail)
            self._over.wait(_LOOK_SECONDS)

    def _take(self, state: str, detail: str) -> None:
        since = self.view.since if state == self.view.state else time.time()
        self.view = JoinStatus(
            state=state, since=since, endpoint=self._config.rendezvous_endpoint, detail=detail[:_MAX_DETAIL]
        )

    def _look_at_home(self) -> tuple[str, str]:
        listeners = sockets.find_listeners(self._port)
        if sockets.holds(self.launcher, listeners):
            return JoinState.JOINED, ""
        # The sockets of our own torchrun, when it ends, are nobody's for a moment: a stranger's are there at the next look too.
        strangers, self._nobodys = listeners & self._nobodys, listeners
        if strangers:
            return JoinState.PORT_TAKEN, f"another process listens on {self._port}"
        return (self.view.state, self.view.detail) if listeners else (JoinState.STARTING, "")

    def _look_for_node_zero(self) -> tuple[str, str]:
        if self.launcher and sockets.is_connected(self.launcher, port=self._port):
            return JoinState.JOINED, ""
        try:
            found = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        except OSError as error:
            return JoinState.NAME_UNKNOWN, str(error)
        self._known.set()
        return _try_to_connect(str(found[0][4][0]), self._port)


def _try_to_connect(address: str, port: int) -> tuple[JoinState, str]:
    try:
        with socket.create_connection((address, port), timeout=_CONNECT_SECONDS):
            return JoinState.CONNECTING, ""
    except ConnectionRefusedError:
        return JoinState.REFUSED, f"{address} refuses connections to port {port}"
    except OSError as error:
        return JoinState.UNREACHABLE, f"{address} does not answer on port {port}: {error}"
