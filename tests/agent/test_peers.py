import socket
from dataclasses import replace
from pathlib import Path

from oarlock_api.contract import Cause, PodPhase, Standing
from oarlock_trainer.agent.deadlines import Hang
from oarlock_trainer.agent.evidence import Evidence
from oarlock_trainer.agent.standing import Place
from oarlock_trainer.agent.verdict import decide_verdict
from oarlock_trainer.peers import Peer, describe_own_node, find_silent, read_peers, write_peers

PEER = Peer(node=1, pod="job-1", address="127.0.0.1", port=1, ranks=(2, 3))
TORCHRUN = {"RANK": "3", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2", "GROUP_RANK": "1"}
POD = {"OARLOCK_POD_NAME": "job-1", "OARLOCK_POD_IP": "127.0.0.1", "OARLOCK_STATUS_PORT": "1"}


def test_every_rank_of_a_node_describes_the_same_node() -> None:
    assert describe_own_node({**TORCHRUN, **POD}) == PEER
    assert describe_own_node({**TORCHRUN, **POD, "RANK": "2", "LOCAL_RANK": "0"}) == PEER


def test_a_process_without_an_agent_describes_no_node() -> None:
    assert describe_own_node(TORCHRUN) is None


def test_peers_are_read_as_they_were_written_once_for_each_node(tmp_path: Path) -> None:
    other = replace(PEER, node=0, pod="job-0", ranks=(0, 1))
    write_peers(tmp_path, [other, other, PEER, None, PEER])
    assert read_peers(tmp_path) == [other, PEER]


def test_there_are_no_peers_when_the_ranks_have_not_met_or_the_file_is_broken(tmp_path: Path) -> None:
    assert read_peers(tmp_path) == []
    (tmp_path / "peers.json").write_text('[{"node": 1}]')
    assert read_peers(tmp_path) == []


def test_a_node_is_there_when_it_answers_or_refuses() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_server(("127.0.0.1", 0)) as closed:
        ports = [server.getsockname()[1], closed.getsockname()[1]]
        closed.close()
        assert find_silent([replace(PEER, port=port) for port in ports]) == []


def test_a_node_is_silent_when_its_network_cannot_be_reached() -> None:
    """Such an address is never routed: the kernel refuses at once."""
    assert find_silent([replace(PEER, address="255.255.255.255")]) == [replace(PEER, address="255.255.255.255")]


def judge(standing: Standing) -> tuple[str, int | None, str]:
    hang = Hang(local_rank=0, seconds=9, phase=PodPhase.TRAINING, step=5, place=Place(standing=standing))
    evidence = Evidence(program="torchrun", node=0, nodes=2, processes=2, hang=hang, silent=[PEER])
    failure = decide_verdict(evidence).failure
    assert failure is not None
    return failure.cause, failure.node, failure.message


def test_a_silent_node_is_blamed_when_ranks_wait_for_others() -> None:
    cause, node, message = judge(Standing.WAITS_FOR_RANKS)
    assert (cause, node) == (Cause.COLLECTIVE_FAILED, 1)
    assert message.endswith("Nothing answers at node rank 1 (pod job-1, 127.0.0.1) with ranks 2 to 3.")


def test_no_other_node_is_blamed_when_a_rank_hangs_by_itself() -> None:
    cause, node, _ = judge(Standing.BUSY)
    assert (cause, node) == (Cause.HUNG, 0)
