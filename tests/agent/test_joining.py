"""What a node sees of the rendezvous, with real sockets."""

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from agent.pods import make_environment

from oarlock_api.contract import JoinState
from oarlock_trainer.agent import sockets
from oarlock_trainer.agent.config import AgentConfig, Mode, read_config
from oarlock_trainer.agent.rendezvous import JoinWatch
from oarlock_trainer.errors import RendezvousError


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server


def port_of(server: socket.socket) -> int:
    return int(server.getsockname()[1])


def make_config(endpoint: str, *, node: int = 1, seconds: int = 60) -> AgentConfig:
    changes = {
        "NODES": "2",
        "NODE_RANK": str(node),
        "RENDEZVOUS_ENDPOINT": endpoint,
        "RENDEZVOUS_ID": "x",
        "JOIN_TIMEOUT_SECONDS": str(seconds),
    }
    return read_config(Mode.TRAIN, make_environment(Path("/pod"), **changes))


def look(config: AgentConfig, *, launcher: int = 0) -> str:
    watch = JoinWatch(config)
    watch.launcher = launcher
    state, _ = watch._look_at_home() if config.node == 0 else watch._look_for_node_zero()
    return state


def test_connections_and_listeners_are_told_by_process(listener: socket.socket) -> None:
    port, parent = port_of(listener), os.getppid()
    assert not sockets.is_connected(os.getpid(), port=port)
    with socket.create_connection(listener.getsockname()):
        assert sockets.is_connected(os.getpid(), port=port)
        assert not sockets.is_connected(parent, port=port)
    listeners = sockets.find_listeners(port)
    assert len(listeners) == 1
    assert sockets.holds(os.getpid(), listeners)
    assert not sockets.holds(parent, listeners)
    listener.close()
    assert sockets.find_listeners(port) == set()


def test_node_zero_has_joined_when_its_own_launcher_listens(listener: socket.socket) -> None:
    config = make_config(f"node-0.invalid:{port_of(listener)}", node=0)

    assert look(config, launcher=os.getpid()) == JoinState.JOINED
    listener.close()
    assert look(config, launcher=os.getpid()) == JoinState.STARTING


def test_port_is_taken_when_a_stranger_listens_for_longer_than_a_look(listener: socket.socket) -> None:
    watch = JoinWatch(make_config(f"node-0.invalid:{port_of(listener)}", node=0))
    watch.launcher = os.getppid()

    # The first look alone could be one at a torchrun that is ending: its sockets outlive what /proc says of it.
    assert [watch._look_at_home()[0] for _ in range(3)] == [
        JoinState.STARTING,
        JoinState.PORT_TAKEN,
        JoinState.PORT_TAKEN,
    ]
    listener.close()
    assert watch._look_at_home()[0] == JoinState.STARTING


def test_other_nodes_say_how_far_they_come(listener: socket.socket) -> None:
    port = port_of(listener)
    endpoint = f"127.0.0.1:{port}"

    assert look(make_config(f"node-0.invalid:{port}")) == JoinState.NAME_UNKNOWN
    assert look(make_config(endpoint), launcher=os.getpid()) == JoinState.CONNECTING
    with socket.create_connection(listener.getsockname()):
        assert look(make_config(endpoint), launcher=os.getpid()) == JoinState.JOINED
    listener.close()
    assert look(make_config(endpoint)) == JoinState.REFUSED


def test_time_of_a_state_stays_while_the_state_does() -> None:
    watch = JoinWatch(make_config("node-0.invalid:1"))
    watch.start()
    deadline = time.monotonic() + 60
    while watch.view.state != JoinState.NAME_UNKNOWN and time.monotonic() < deadline:
        time.sleep(0.05)
    since = watch.view.since
    time.sleep(1.2)
    watch.finish()
    watch.finish()

    assert watch.view.state == JoinState.JOINED
    assert watch.view.since > since + 1


def test_waiting_for_the_name_ends_with_what_dns_said_when_it_takes_too_long() -> None:
    watch = JoinWatch(make_config("node-0.invalid:1", seconds=1))
    watch.start()

    with pytest.raises(RendezvousError, match=r"node-0\.invalid was not found within 1 s \(.+\)"):
        watch.wait_for_name(wait=time.sleep, is_stopped=lambda: False)
