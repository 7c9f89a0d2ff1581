"""What the operator tells the agent, read once from the environment.

Everything wrong with it is said at once, by variable. Reads nothing but the mapping it is given.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from oarlock_api import contract
from oarlock_trainer.errors import ConfigError

_MIN_CONTRACT_VERSION = max(1, contract.CONTRACT_VERSION - 1)
_MAX_PORT = 65535
_DEFAULT_IMPORT_GRACE_SECONDS = 30.0

T = TypeVar("T")


class Mode(StrEnum):
    """What the pod is for."""

    TRAIN = "train"
    IMPORT = "import"
    CHECK = "check"
    """Only to find out whether the model fits the data set."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AgentConfig:
    """The agent's part of the contract's variables."""

    mode: Mode
    job_uid: str
    run_hash: str
    attempt: int
    node: int
    """This pod among `nodes`."""
    nodes: int
    processes: int
    """Ranks in this pod."""
    cpus: int
    rendezvous_endpoint: str
    """host:port of node 0; empty for one node."""
    rendezvous_id: str
    join_timeout: float
    """Seconds in which all nodes must have found node 0; 0 for one node."""
    progress_deadline: float | None
    """Seconds without a beat after which a rank is hung; None: never."""
    grace_period: float
    """Seconds between SIGTERM and SIGKILL."""
    pod_ip: str
    status_port: int
    termination_log: Path
    run_dir: Path | None
    """The job's folder on the checkpoint volume; None for an import or a check."""
    scratch_dir: Path
    program: tuple[str, ...] = ()
    """Program and arguments of a script; empty: Oarlock's own trainer."""
    code_dir: Path | None = None
    """Folder of the user's own Python files."""

    @property
    def stop_margin(self) -> float:
        """Seconds of the grace period that the agent keeps for killing what is left and for its last report."""
        return min(5.0, self.grace_period / 5)

    @property
    def first_rank(self) -> int:
        """Global rank of this pod's local rank 0."""
        return self.node * self.processes


class _Variables:
    """Reads variables and collects what is wrong with them."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self.problems: list[str] = []

    def read(self, name: str, convert: Callable[[str], T], *, rule: str, fallback: T, optional: bool = False) -> T:
        text = self._environment.get(name, "").strip()
        if not text:
            if not optional:
                self.problems.append(f"{name} must be {rule}, and is not set")
            return fallback
        try:
            return convert(text)
        except ValueError:
            self.problems.append(f"{name} must be {rule}, got {text!r}")
            return fallback

    def read_text(self, name: str, *, optional: bool = False) -> str:
        return self.read(name, str, rule="set", fallback="", optional=optional)

    def read_number(
        self, name: str, *, at_least: int, at_most: float = float("inf"), default: int | None = None
    ) -> int:
        def convert(text: str) -> int:
            if not at_least <= int(text) <= at_most:
                raise ValueError
            return int(text)

        rule = f"a whole number of at least {at_least}" + ("" if at_most == float("inf") else f" and at most {at_most}")
        return self.read(name, convert, rule=rule, fallback=default or at_least, optional=default is not None)

    def read_seconds(self, name: str, *, default: float | None = None) -> float:
        def convert(text: str) -> float:
            if not 0 <= float(text) < float("inf"):
                raise ValueError
            return float(text)

        fallback = 0.0 if default is None else default
        return self.read(name, convert, rule="seconds, 0 or more", fallback=fallback, optional=default is not None)

    def read_optional_folder(self, name: str) -> Path | None:
        return self.read_folder(name) if self._environment.get(name, "").strip() else None

    def read_folder(self, name: str) -> Path:
        def convert(text: str) -> Path:
            if not Path(text).is_absolute():
                raise ValueError
            return Path(text)

        return self.read(name, convert, rule="an absolute path", fallback=Path("/"))

    def refuse_unless(self, accepted: bool, problem: str) -> None:  # noqa: FBT001  # reads like an assertion
        if not accepted:
            self.problems.append(problem)


def read_config(mode: Mode, environment: Mapping[str, str]) -> AgentConfig:
    """Read the agent's configuration.

    Raises:
        ConfigError: naming every variable that is missing or does not hold what it must.
    """
    variables = _Variables(environment)
    _check_contract_version(variables)
    program = _read_program(variables.read_text(contract.RUN_ENV)) if mode is Mode.TRAIN else ()
    if not program:  # a program may bring its own data
        variables.read_folder(contract.DATA_DIR_ENV)
    config = _read_train(variables, program) if mode is Mode.TRAIN else _read_alone(variables, mode)
    if variables.problems:
        raise ConfigError(
            "; ".join(variables.problems),
            remedy="the operator sets these variables: see that no podTemplate overrides them, and that the operator and"
            " the trainer image are of the same release",
        )
    return config


def _read_program(run: str) -> tuple[str, ...]:
    """Return the command in the value of OARLOCK_RUN; nothing if the run is of Oarlock's own trainer."""
    try:
        wire = json.loads(run)
    except (ValueError, RecursionError):
        return ()  # the trainer that reads it will say what is wrong
    command = wire.get("command") if isinstance(wire, dict) else None
    return tuple(map(str, command)) if isinstance(command, list) else ()


def _read_train(variables: _Variables, program: tuple[str, ...]) -> AgentConfig:
    nodes = variables.read_number(contract.NODES_ENV, at_least=1)
    several = nodes > 1
    endpoint = variables.read_text(contract.RENDEZVOUS_ENDPOINT_ENV, optional=not several)
    variables.refuse_unless(
        not several or not endpoint or _is_endpoint(endpoint),
        f"{contract.RENDEZVOUS_ENDPOINT_ENV} must be host:port, got {endpoint!r}",
    )
    return AgentConfig(
        mode=Mode.TRAIN,
        job_uid=variables.read_text(contract.JOB_UID_ENV),
        run_hash=variables.read_text(contract.RUN_HASH_ENV),
        attempt=variables.read_number(contract.ATTEMPT_ENV, at_least=0),
        node=variables.read_number(contract.NODE_RANK_ENV, at_least=0, at_most=nodes - 1),
        nodes=nodes,
        processes=variables.read_number(contract.PROCESSES_PER_NODE_ENV, at_least=1),
        cpus=variables.read_number(contract.CPUS_ENV, at_least=1),
        rendezvous_endpoint=endpoint,
        rendezvous_id=variables.read_text(contract.RENDEZVOUS_ID_ENV, optional=not several),
        join_timeout=variables.read_seconds(contract.JOIN_TIMEOUT_SECONDS_ENV) if several else 0.0,
        progress_deadline=variables.read_seconds(contract.PROGRESS_DEADLINE_SECONDS_ENV) or None,
        grace_period=variables.read_seconds(contract.GRACE_PERIOD_SECONDS_ENV),
        pod_ip=variables.read_text(contract.POD_IP_ENV),
        status_port=variables.read_number(contract.STATUS_PORT_ENV, at_least=1, at_most=_MAX_PORT),
        termination_log=variables.read_folder(contract.TERMINATION_LOG_ENV),
        run_dir=variables.read_folder(contract.RUN_DIR_ENV),
        scratch_dir=variables.read_folder(contract.SCRATCH_DIR_ENV),
        program=program,
        code_dir=variables.read_optional_folder(contract.CODE_DIR_ENV),
    )


def _read_alone(variables: _Variables, mode: Mode) -> AgentConfig:
    """Read the variables of a pod without torchrun, and without a volume for checkpoints."""
    grace = variables.read_seconds(contract.GRACE_PERIOD_SECONDS_ENV, default=_DEFAULT_IMPORT_GRACE_SECONDS)
    return AgentConfig(
        mode=mode,
        job_uid=variables.read_text(contract.JOB_UID_ENV),
        run_hash=variables.read_text(contract.RUN_HASH_ENV, optional=True),
        attempt=variables.read_number(contract.ATTEMPT_ENV, at_least=0, default=0),
        node=0,
        nodes=1,
        processes=1,
        cpus=variables.read_number(contract.CPUS_ENV, at_least=1, default=1),
        rendezvous_endpoint="",
        rendezvous_id="",
        join_timeout=0.0,
        progress_deadline=variables.read_seconds(contract.PROGRESS_DEADLINE_SECONDS_ENV, default=0.0) or None,
        grace_period=grace,
        pod_ip=variables.read_text(contract.POD_IP_ENV),
        status_port=variables.read_number(contract.STATUS_PORT_ENV, at_least=1, at_most=_MAX_PORT),
        termination_log=variables.read_folder(contract.TERMINATION_LOG_ENV),
        run_dir=None,
        scratch_dir=variables.read_folder(contract.SCRATCH_DIR_ENV),
        code_dir=variables.read_optional_folder(contract.CODE_DIR_ENV),
    )


def _check_contract_version(variables: _Variables) -> None:
    version = variables.read_number(contract.CONTRACT_VERSION_ENV, at_least=0)
    variables.refuse_unless(
        _MIN_CONTRACT_VERSION <= version <= contract.CONTRACT_VERSION or bool(variables.problems),
        f"{contract.CONTRACT_VERSION_ENV} is {version}: this trainer image understands"
        f" {_MIN_CONTRACT_VERSION} to {contract.CONTRACT_VERSION}",
    )


def _is_endpoint(text: str) -> bool:
    host, _, port = text.rpartition(":")
    return bool(host) and port.isdigit() and 0 < int(port) <= _MAX_PORT
