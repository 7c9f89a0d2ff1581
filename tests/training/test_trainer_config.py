"""Reading the environment of a training process."""

import json

import pytest
from training.small_runs import make_run

from oarlock_trainer.config import read_config
from oarlock_trainer.errors import ConfigError

GOOD = {
    "OARLOCK_RUN": json.dumps(make_run("abc").to_wire()),
    "OARLOCK_DATA_DIR": "/data",
    "OARLOCK_RUN_DIR": "/run",
}


def test_three_variables_are_enough_when_a_run_is_started_by_hand() -> None:
    config = read_config(GOOD, cpus=4)

    assert (config.rank, config.processes, config.threads, config.launched) == (0, 1, 4, False)
    assert (config.attempt, config.job_uid, config.batch_size) == (0, "", 16)


def test_processes_share_the_cores_of_their_pod() -> None:
    ranks = {"RANK": "5", "LOCAL_RANK": "1", "WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "4", "OARLOCK_CPUS": "10"}

    assert read_config({**GOOD, **ranks}, cpus=64).threads == 2
    assert read_config({**GOOD, **ranks, "OARLOCK_CPUS": "3"}, cpus=64).threads == 1


@pytest.mark.parametrize(
    ("changes", "findings"),
    [
        (
            {"OARLOCK_DATA_DIR": "", "OARLOCK_RUN_DIR": ""},
            ["OARLOCK_DATA_DIR must be set", "OARLOCK_RUN_DIR must be set"],
        ),
        ({"OARLOCK_RUN": "{"}, ["OARLOCK_RUN must be JSON"]),
        ({"OARLOCK_RUN": "{}"}, ["OARLOCK_RUN recipe: Field required", "OARLOCK_RUN steps: Field required"]),
        ({"OARLOCK_ATTEMPT": "-1"}, ["OARLOCK_ATTEMPT must be a whole number of at least 0, got '-1'"]),
        ({"WORLD_SIZE": "17"}, ["recipe.batchSize must be at least the number of processes (17), got 16"]),
        ({"OARLOCK_CPUS": "many", "RANK": "first"}, ["OARLOCK_CPUS must", "RANK must"]),
    ],
    ids=["absent", "not JSON", "incomplete", "negative", "too many processes", "no numbers"],
)
def test_everything_wrong_is_said_at_once(changes: dict[str, str], findings: list[str]) -> None:
    with pytest.raises(ConfigError) as error:
        read_config({**GOOD, **changes}, cpus=1)

    assert all(finding in str(error.value) for finding in findings)
    assert error.value.remedy


def test_a_shape_that_is_not_that_of_images_is_refused() -> None:
    run = make_run("abc").to_wire() | {"sampleShape": [28, 0], "steps": 0}

    with pytest.raises(ConfigError, match=r"sampleShape must be the sizes of a sample.*steps must be at least 1"):
        read_config({**GOOD, "OARLOCK_RUN": json.dumps(run)}, cpus=1)
