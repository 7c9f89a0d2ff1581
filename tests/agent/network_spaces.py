"""Nodes with a network each, joined by a switch, on this machine: a cable can be pulled without a word to either end."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

_ENTER = ("nsenter", "--preserve-credentials", "--user", "--net")


class NotAllowedError(Exception):
    """This machine lets nobody make networks: the message is what it said."""


@dataclass(kw_only=True, slots=True)
class Network:
    """A switch and the nodes at it; each space lives as long as its holder, a process that sleeps."""

    switch: "subprocess.Popen[bytes]"
    nodes: "list[subprocess.Popen[bytes]]" = field(default_factory=list)

    def address(self, node: int) -> str:
        return f"10.77.0.{node + 1}"

    def enter(self, node: int) -> list[str]:
        """Return what to put before a command that is to run on a node."""
        return [*_ENTER, f"--target={self.nodes[node].pid}", "--"]

    def cut(self, node: int) -> None:
        """Pull a node's cable out of the switch: both ends go on, and hear nothing."""
        self._ip(f"link set port{node} down")

    def add_node(self) -> None:
        number = len(self.nodes)
        self.nodes.append(_hold([*_ENTER, f"--target={self.switch.pid}", "--", "unshare", "--net"]))
        self._ip(f"link add port{number} type veth peer name eth0 netns {self.nodes[-1].pid}")
        self._ip(f"link set port{number} master switch up")
        for command in ("link set lo up", f"address add {self.address(number)}/24 dev eth0", "link set eth0 up"):
            _run([*self.enter(number), "ip", *command.split()])

    def _ip(self, command: str) -> None:
        _run([*_ENTER, f"--target={self.switch.pid}", "--", "ip", *command.split()])


@contextmanager
def make_network(*, nodes: int) -> Iterator[Network]:
    """Make a network of nodes, which is gone afterwards.

    Raises:
        NotAllowedError: if this machine does not let us.
    """
    network = Network(switch=_hold(["unshare", "--user", "--map-root-user", "--net"]))
    try:
        network._ip("link add switch type bridge")
        network._ip("link set switch up")
        for _ in range(nodes):
            network.add_node()
        yield network
    finally:
        for holder in (*network.nodes, network.switch):
            holder.kill()
            holder.wait()


def _hold(command: list[str]) -> "subprocess.Popen[bytes]":
    """Start a process that keeps a space open, and wait until it is in there: it says so."""
    program = [*command, "sh", "-c", "echo in; exec sleep 600"]
    try:
        holder = subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    except OSError as error:
        raise NotAllowedError(str(error)) from error
    assert holder.stdout is not None
    assert holder.stderr is not None
    if holder.stdout.readline() != b"in\n":
        holder.wait()
        raise NotAllowedError(holder.stderr.read().decode().strip())
    return holder


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        raise NotAllowedError(f"{' '.join(command)}: {done.stderr.strip()}")
