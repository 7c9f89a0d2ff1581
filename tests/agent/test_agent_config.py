import json
import subprocess
import sys
from pathlib import Path

import pytest
from agent.pods import make_environment, run_agent_module

from oarlock_api import contract
from oarlock_api.contract import EXIT_CODES, Cause
from oarlock_trainer.agent.config import Mode, read_config
from oarlock_trainer.errors import ConfigError

_IMPORT_NEEDS = {
    contract.CONTRACT_VERSION_ENV,
    contract.RUN_ENV,
    contract.JOB_UID_ENV,
    contract.POD_IP_ENV,
    contract.STATUS_PORT_ENV,
    contract.TERMINATION_LOG_ENV,
    contract.DATA_DIR_ENV,
    contract.SCRATCH_DIR_ENV,
}


def test_config_holds_what_the_variables_say_when_they_are_complete(tmp_path: Path) -> None:
    config = read_config(Mode.TRAIN, make_environment(tmp_path, ATTEMPT="4", PROGRESS_DEADLINE_SECONDS="0"))

    assert (config.attempt, config.nodes, config.processes, config.cpus) == (4, 1, 2, 2)
    assert (config.progress_deadline, config.grace_period) == (None, 30.0)
    assert config.run_dir == tmp_path / "run"


def test_import_needs_fewer_variables_when_it_is_configured(tmp_path: Path) -> None:
    environment = {name: value for name, value in make_environment(tmp_path).items() if name in _IMPORT_NEEDS}
    config = read_config(Mode.IMPORT, environment)

    assert (config.run_dir, config.processes, config.progress_deadline) == (None, 1, None)


@pytest.mark.parametrize("name", sorted(make_environment(Path("/x")).keys() - {contract.POD_NAME_ENV}))
def test_variable_is_named_when_it_is_missing(tmp_path: Path, name: str) -> None:
    environment = make_environment(tmp_path)
    del environment[name]

    with pytest.raises(ConfigError, match=f"^{name} must be .* and is not set$"):
        read_config(Mode.TRAIN, environment)


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("CONTRACT_VERSION", "99", "understands"),
        ("ATTEMPT", "-1", "a whole number of at least 0"),
        ("ATTEMPT", "one", "a whole number of at least 0"),
        ("NODE_RANK", "1", "at least 0 and at most 0"),
        ("PROCESSES_PER_NODE", "0", "a whole number of at least 1"),
        ("STATUS_PORT", "70000", "at most 65535"),
        ("GRACE_PERIOD_SECONDS", "nan", "seconds, 0 or more"),
        ("PROGRESS_DEADLINE_SECONDS", "-3", "seconds, 0 or more"),
        ("RUN_DIR", "relative/path", "an absolute path"),
    ],
)
def test_variable_and_its_value_are_named_when_it_is_wrong(tmp_path: Path, name: str, value: str, rule: str) -> None:
    with pytest.raises(ConfigError, match=rule) as caught:
        read_config(Mode.TRAIN, make_environment(tmp_path, **{name: value}))

    assert f"OARLOCK_{name}" in str(caught.value)
    assert value in str(caught.value)


def test_rendezvous_is_needed_when_there_are_several_nodes(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read_config(Mode.TRAIN, make_environment(tmp_path, NODES="2"))

    missing = (
        contract.RENDEZVOUS_ENDPOINT_ENV,
        contract.RENDEZVOUS_ID_ENV,
        contract.JOIN_TIMEOUT_SECONDS_ENV,
    )
    assert all(name in str(caught.value) for name in missing)


def test_endpoint_is_refused_when_it_has_no_port(tmp_path: Path) -> None:
    changes = {"NODES": "2", "RENDEZVOUS_ENDPOINT": "r0", "RENDEZVOUS_ID": "x", "JOIN_TIMEOUT_SECONDS": "5"}

    with pytest.raises(ConfigError, match="must be host:port, got 'r0'"):
        read_config(Mode.TRAIN, make_environment(tmp_path, **changes))


def test_all_bad_variables_are_in_the_last_report_when_a_pod_is_misconfigured(tmp_path: Path) -> None:
    environment = make_environment(tmp_path, ATTEMPT="x", CPUS="0")
    ended = run_agent_module("train", environment)
    record = json.loads((tmp_path / "termination-log").read_text())

    assert ended.returncode == EXIT_CODES[Cause.CONFIG_INVALID]
    assert record["failure"]["cause"] == "ConfigInvalid"
    assert "OARLOCK_ATTEMPT must be" in record["failure"]["message"]
    assert "OARLOCK_CPUS must be" in record["failure"]["message"]
    assert record["jobUid"] == environment[contract.JOB_UID_ENV]
    assert "OARLOCK_CPUS" in ended.stderr


def test_agent_imports_only_the_standard_library_when_it_starts() -> None:
    """It must start in any image."""
    program = (
        "import sys\n"
        "before = set(sys.modules)\n"
        "import oarlock_trainer.agent.__main__\n"
        "new = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "print(*sorted(new - set(sys.stdlib_module_names)))\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert ended.stdout.split() == ["oarlock_api", "oarlock_trainer"]
