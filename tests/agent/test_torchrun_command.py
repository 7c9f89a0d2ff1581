from pathlib import Path

import pytest
from agent.pods import make_environment

from oarlock_trainer import quick_imports
from oarlock_trainer.agent.command_line import build_command, build_environment
from oarlock_trainer.agent.config import AgentConfig, Mode, read_config

_TWO_NODES = {
    "NODES": "2",
    "RENDEZVOUS_ENDPOINT": "r0-a2.job-4f7d2c1e:29400",
    "RENDEZVOUS_ID": "4f7d2c1e-a2",
    "JOIN_TIMEOUT_SECONDS": "90",
    "POD_IP": "10.1.2.3",
}


def make_config(**changes: str) -> AgentConfig:
    return read_config(Mode.TRAIN, make_environment(Path("/pod"), **changes))


def test_torchrun_stands_alone_when_there_is_one_node() -> None:
    command = build_command(make_config(PROCESSES_PER_NODE="3"), retry=0)

    assert command[1:4] == ["-P", quick_imports.__file__, "torch.distributed.run"]
    assert {"--nnodes=1", "--nproc-per-node=3", "--max-restarts=0", "--standalone"} <= set(command)
    assert command[-2:] == ["-m", "oarlock_trainer"]


def test_ranks_follow_the_node_when_there_are_several() -> None:
    command = build_command(make_config(**_TWO_NODES, NODE_RANK="1"), retry=0)

    assert {"--nnodes=2", "--node-rank=1", "--rdzv-backend=static", "--rdzv-id=4f7d2c1e-a2"} <= set(command)
    assert {"--master-addr=r0-a2.job-4f7d2c1e", "--master-port=29400", "--rdzv-conf=timeout=90"} <= set(command)


def test_node_zero_uses_its_own_address_when_it_hosts_the_rendezvous() -> None:
    command = build_command(make_config(**_TWO_NODES), retry=0)

    assert {"--master-addr=10.1.2.3", "--local-addr=10.1.2.3", "--node-rank=0"} <= set(command)


def test_address_loses_its_brackets_when_it_is_ipv6() -> None:
    changes = {**_TWO_NODES, "RENDEZVOUS_ENDPOINT": "[fd00::7]:29400", "NODE_RANK": "1"}

    assert "--master-addr=fd00::7" in build_command(make_config(**changes), retry=0)


def test_threads_and_caches_are_set_when_training() -> None:
    config = make_config(CPUS="7", PROCESSES_PER_NODE="2", GRACE_PERIOD_SECONDS="120")
    environment = build_environment(config, {"RANK": "5", "HOME": "/root"}, records=Path("/r/0"))

    assert environment["OMP_NUM_THREADS"] == "3"
    assert environment["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] == "1"
    assert environment["TORCH_ELASTIC_SHUTDOWN_TIMEOUT"] == "115"
    assert environment["TORCHINDUCTOR_CACHE_DIR"] == "/pod/run/cache/inductor"
    assert environment["OARLOCK_RANK_RECORD_DIR"] == "/r/0"
    assert (environment["HOME"], "RANK" in environment) == ("/root", False)


def test_threads_of_the_user_stay_when_the_pod_template_sets_them() -> None:
    environment = build_environment(make_config(), {"OMP_NUM_THREADS": "9"}, records=Path("/r/0"))

    assert environment["OMP_NUM_THREADS"] == "9"


@pytest.mark.parametrize(
    ("mode", "module"), [(Mode.IMPORT, "oarlock_trainer.importing"), (Mode.CHECK, "oarlock_trainer.model_check")]
)
def test_program_is_rank_zero_when_a_pod_has_no_torchrun(mode: Mode, module: str) -> None:
    config = read_config(mode, make_environment(Path("/pod")))

    assert build_command(config, retry=0)[1:] == ["-m", module]
    assert build_environment(config, {}, records=Path("/r/0"))["LOCAL_RANK"] == "0"
