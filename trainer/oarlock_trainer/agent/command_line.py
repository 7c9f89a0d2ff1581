"""The command lines and the environment of what the agent runs. Pure.

torchrun here is a launcher and nothing more: a fixed number of nodes, no restarts, no monitoring. The static rendezvous gives
node N the ranks N·P to N·P+P-1; the c10d one orders nodes by address, so that rank 0, which the operator asks for progress,
would be on any of them (docs/decisions/0007-static-rendezvous.md).
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from oarlock_api.contract import IMPORTER_MODULE, MODEL_CHECK_MODULE
from oarlock_trainer import process_death, quick_imports
from oarlock_trainer.agent.config import AgentConfig, Mode
from oarlock_trainer.agent.program import build_program
from oarlock_trainer.rank_record import RANK_RECORD_DIR_ENV

# -P: the folder of the script is none to import from.
TORCHRUN = (sys.executable, "-P", str(Path(quick_imports.__file__)), "torch.distributed.run")
_ALONE = {
    Mode.IMPORT: (sys.executable, "-m", IMPORTER_MODULE),
    Mode.CHECK: (sys.executable, "-m", MODEL_CHECK_MODULE),
}

_SET_BY_TORCHRUN = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_RANK", "MASTER_ADDR", "MASTER_PORT")


def build_train_command(config: AgentConfig, *, retry: int, launcher: Sequence[str] = TORCHRUN) -> list[str]:
    """Return the torchrun command line of this node."""
    return [
        *launcher,
        f"--nnodes={config.nodes}",
        f"--nproc-per-node={config.processes}",
        "--max-restarts=0",
        # The agent sees a rank end before torchrun reaps it, and reads its exit status in that time.
        "--monitor-interval=1",
        f"--log-dir={config.scratch_dir / 'torchrun'}",
        f"--local-addr={config.pod_ip}",
        *_build_rendezvous(config, retry=retry),
        *build_program(config),
    ]


def _build_rendezvous(config: AgentConfig, *, retry: int) -> list[str]:
    if config.nodes == 1:
        return ["--standalone"]
    host, _, port = config.rendezvous_endpoint.rpartition(":")
    return [
        "--rdzv-backend=static",
        f"--node-rank={config.node}",
        # Node 0 needs no name to find itself.
        f"--master-addr={config.pod_ip if config.node == 0 else host.strip('[]')}",
        f"--master-port={port}",
        f"--rdzv-id={config.rendezvous_id}" + (f"-{retry}" if retry else ""),
        f"--rdzv-conf=timeout={max(1, int(config.join_timeout))}",
    ]


def build_command(config: AgentConfig, *, retry: int, launcher: Sequence[str] | None = None) -> list[str]:
    """Return what the agent runs: torchrun with the trainer, the importer, or the check of the model."""
    if config.mode is Mode.TRAIN:
        return build_train_command(config, retry=retry, launcher=launcher or TORCHRUN)
    return list(launcher or _ALONE[config.mode])


def wrap_in_process_death(command: Sequence[str], *, parent: int) -> list[str]:
    """Return a command line that becomes `command` and dies with process `parent`."""
    return [sys.executable, "-I", "-S", str(Path(process_death.__file__)), str(parent), *command]


def build_environment(config: AgentConfig, inherited: Mapping[str, str], *, records: Path) -> dict[str, str]:
    """Return the environment of the child; what the user set through podTemplate wins where a default stands."""
    kept = {name: value for name, value in inherited.items() if name not in _SET_BY_TORCHRUN}
    ours = {RANK_RECORD_DIR_ENV: str(records), "PYTHONUNBUFFERED": "1"}
    defaults = {
        "PYTHONFAULTHANDLER": "1"
    }  # a crash, or an agent that gives up on a hung rank, leaves the stack in the log
    if config.mode is not Mode.TRAIN:
        return {**defaults, **kept, **ours, "RANK": "0", "LOCAL_RANK": "0"}
    return {**defaults, **_build_torch_defaults(config), **kept, **ours, **_build_torch_settings(config)}


def _build_torch_defaults(config: AgentConfig) -> dict[str, str]:
    caches = (config.run_dir or config.scratch_dir) / "cache"
    return {
        "OMP_NUM_THREADS": str(max(1, config.cpus // config.processes)),
        "TORCHINDUCTOR_CACHE_DIR": str(caches / "inductor"),
        "TRITON_CACHE_DIR": str(caches / "triton"),
    }


def _build_torch_settings(config: AgentConfig) -> dict[str, str]:
    return {
        # Without this a second torchrun in the same pod finds the first one's store.
        "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
        # While ranks end one after the other torchrun must not kill those that still write the last checkpoint.
        "TORCH_ELASTIC_SHUTDOWN_TIMEOUT": str(max(1, int(config.grace_period - config.stop_margin))),
    }
