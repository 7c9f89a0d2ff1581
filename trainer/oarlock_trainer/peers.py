"""Who is at the other end: the ranks tell one another where they run, and the agent asks there when they wait for ever.

A node that is cut off closes no connection. Its peers wait in a collective operation as they would for a slow rank, and no
process of theirs can tell the difference; a new connection can. Standard library only: agent and ranks use it.
"""

import contextlib
import errno
import json
import os
import selectors
import socket
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from oarlock_api.contract import POD_IP_ENV, POD_NAME_ENV, STATUS_PORT_ENV

_FILE = "peers.json"
_CONNECT_SECONDS = 3.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Peer:
    """One node of the run."""

    node: int
    pod: str
    address: str
    port: int
    """Of its agent."""
    ranks: tuple[int, ...]

    def __str__(self) -> str:
        named = f"rank {self.ranks[0]}" if len(self.ranks) == 1 else f"ranks {self.ranks[0]} to {self.ranks[-1]}"
        return f"node rank {self.node} (pod {self.pod}, {self.address}) with {named}"


def describe_own_node(environment: Mapping[str, str]) -> Peer | None:
    """Return the node of this process, as torchrun and the pod's variables say; None if it runs without an agent."""
    try:
        here, local = int(environment["RANK"]) - int(environment["LOCAL_RANK"]), int(environment["LOCAL_WORLD_SIZE"])
        return Peer(
            node=int(environment["GROUP_RANK"]),
            pod=environment[POD_NAME_ENV],
            address=environment[POD_IP_ENV],
            port=int(environment[STATUS_PORT_ENV]),
            ranks=tuple(range(here, here + local)),
        )
    except (KeyError, ValueError):
        return None


def write_peers(records: Path, peers: Iterable[Peer | None]) -> None:
    """Leave the nodes of a run beside the rank records, for the agent."""
    by_node = {peer.node: asdict(peer) for peer in peers if peer is not None}
    unfinished = records / f"{_FILE}.{os.getpid()}"
    with contextlib.suppress(OSError):  # it must never end a run
        unfinished.write_text(json.dumps(list(by_node.values())), encoding="utf-8")
        unfinished.replace(records / _FILE)


def read_peers(records: Path) -> list[Peer]:
    """Return the nodes of a run; none if its ranks have not met."""
    try:
        entries = json.loads((records / _FILE).read_text(encoding="utf-8"))
        return [Peer(**{**entry, "ranks": tuple(entry["ranks"])}) for entry in entries]
    except (OSError, ValueError, TypeError, KeyError):
        return []


def find_silent(peers: Iterable[Peer], *, seconds: float = _CONNECT_SECONDS) -> list[Peer]:
    """Return the nodes where nothing answers, asking all at once; one that refuses a connection is there."""
    deadline = time.monotonic() + seconds
    silent: list[Peer] = []
    with selectors.DefaultSelector() as selector, contextlib.ExitStack() as stack:
        for peer in peers:
            probe = stack.enter_context(socket.socket(_family(peer.address)))
            probe.setblocking(False)
            code = probe.connect_ex((peer.address, peer.port))
            if code == errno.EINPROGRESS:
                selector.register(probe, selectors.EVENT_WRITE, peer)
            elif not _is_answer(code):
                silent.append(peer)
        while selector.get_map() and (left := deadline - time.monotonic()) > 0:
            for key, _ in selector.select(left):
                selector.unregister(key.fileobj)
                code = key.fileobj.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)  # type: ignore[union-attr]
                if not _is_answer(code):
                    silent.append(key.data)
        silent += [key.data for key in selector.get_map().values()]
    return sorted(silent, key=lambda peer: peer.node)


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def _is_answer(code: int) -> bool:
    return code in (0, errno.ECONNREFUSED, errno.ECONNRESET)
