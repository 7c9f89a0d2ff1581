"""Stands in for torchrun: `fault_launcher.py SCENARIO --nnodes=N --node-rank=R --master-addr=… --nproc-per-node=P …`. A script.

Like torchrun with a static rendezvous, node 0 listens on the port until all others have connected, then each node starts its ranks
in sessions of their own; when one ends badly it ends the others and turns every exit code into 1. Its last words are torch's.
"""

import contextlib
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

_RANKS = Path(__file__).with_name("fault_ranks.py")
_TRAINER = "trainer"
_WORD = b"all are here"


def main() -> int:
    scenario = sys.argv[1]
    options = dict(argument.removeprefix("--").partition("=")[::2] for argument in sys.argv[2:])
    if scenario == "launcher-hangs":
        time.sleep(1000)
    connections = meet(options) if int(options["nnodes"]) > 1 else []
    processes = int(options["nproc-per-node"])
    ranks = [start(scenario, local_rank, options) for local_rank in range(processes)]
    code = watch(ranks)
    for connection in connections:
        connection.close()
    return code


def meet(options: dict[str, str]) -> list[socket.socket]:
    """Return the connections between this node and the others once all nodes have met."""
    address, port, nodes = options["master-addr"], int(options["master-port"]), int(options["nnodes"])
    seconds = int(options["rdzv-conf"].partition("=")[2])
    if int(options["node-rank"]) == 0:
        return welcome(port, nodes, seconds=seconds)
    return [find(address, port, seconds=seconds)]


def welcome(port: int, nodes: int, *, seconds: int) -> list[socket.socket]:
    listener = socket.socket()
    try:
        listener.bind(("127.0.0.1", port))
        listener.listen()
    except OSError as error:
        give_up(
            "The server socket has failed to listen on any local network address. "
            f"port: {port}, useIpv6: false, code: -{error.errno}, name: EADDRINUSE, message: address already in use"
        )
    listener.settimeout(seconds)
    members: list[socket.socket] = []
    while len(members) < nodes - 1:
        try:
            member, _ = listener.accept()
        except TimeoutError:
            give_up(
                f"Timed out after {seconds + 1} seconds waiting for clients. {len(members) + 1}/{nodes} clients joined."
            )
        # Whoever only tries whether the port is open says nothing and goes.
        if member.recv(len(_WORD)):
            members.append(member)
    for member in members:
        member.sendall(_WORD)
    return [listener, *members]


def find(address: str, port: int, *, seconds: int) -> socket.socket:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            connection = socket.create_connection((address, port), timeout=seconds)
            connection.sendall(_WORD)
            if connection.recv(len(_WORD)):
                return connection
        time.sleep(0.1)
    give_up(f"The client socket has timed out after {seconds}000ms while trying to connect to ({address}, {port}).")
    raise AssertionError


def give_up(message: str) -> None:
    sys.stderr.write(f"torch.distributed.DistNetworkError: {message}\n")
    sys.exit(1)


def start(scenario: str, local_rank: int, options: dict[str, str]) -> "subprocess.Popen[bytes]":
    if scenario == _TRAINER:
        command, variables = [sys.executable, "-m", "oarlock_trainer"], {"LOCAL_RANK": "0"}
    else:
        rank = int(options.get("node-rank", "0")) * int(options["nproc-per-node"]) + local_rank
        command = [sys.executable, str(_RANKS), scenario]
        variables = {"LOCAL_RANK": str(local_rank), "RANK": str(rank)}
    return subprocess.Popen(command, env={**os.environ, **variables}, start_new_session=True)


def watch(ranks: "list[subprocess.Popen[bytes]]") -> int:
    while any(rank.poll() is None for rank in ranks):
        time.sleep(1)  # as --monitor-interval says
        if any(rank.poll() for rank in ranks):
            for rank in ranks:
                rank.terminate()
            for rank in ranks:
                rank.wait()
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
