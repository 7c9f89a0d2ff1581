import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

TESTS = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    program = [sys.executable, str(TESTS / "checkpointing/two_ranks_program.py"), str(tmp_path_factory.mktemp("ranks"))]
    environment = {**os.environ, "PYTHONPATH": str(TESTS), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(program, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return dict(json.loads(done.stdout))


def test_all_ranks_hear_of_the_checkpoint_when_rank_0_has_published_it(answers: dict[str, Any]) -> None:
    assert answers["steps_reported"] == [2, 2]
    assert answers["latest_is_known_to_all"] == [True, True]


def test_each_rank_writes_its_share_when_all_hold_the_same(answers: dict[str, Any]) -> None:
    shares = answers["shares"]
    assert set(shares) == {".metadata", "__0_0.distcp", "__1_0.distcp"}
    assert max(shares["__0_0.distcp"], shares["__1_0.distcp"]) < 0.7 * sum(shares.values())


def test_every_rank_gets_the_state_with_the_buffers_of_rank_0(answers: dict[str, Any]) -> None:
    assert answers["state_of_both"] == [True, True]


def test_every_rank_gets_its_own_random_states(answers: dict[str, Any]) -> None:
    assert answers["draws_of_both"] == [True, True]


@pytest.mark.parametrize(
    ("key", "expected"), [("state_alone", True), ("draws_alone", True), ("state_of_three", [True] * 3)]
)
def test_the_checkpoint_loads_when_the_number_of_ranks_has_changed(
    answers: dict[str, Any], key: str, expected: object
) -> None:
    assert answers[key] == expected


def test_both_ranks_take_the_previous_checkpoint_when_one_finds_a_file_damaged(answers: dict[str, Any]) -> None:
    for step, (warning,) in answers["after_damage"]:
        assert step == 2
        assert "__1_0.distcp: expected SHA-256" in warning


def test_all_ranks_fail_alike_and_leave_nothing_when_one_cannot_write(answers: dict[str, Any]) -> None:
    first, second = answers["refused"]
    assert first == second
    assert first.startswith("StorageFailed: writing the checkpoint of step 1 failed at ")
    assert "File too large" in first
    assert answers["left_by_refused"] == []


def test_the_survivor_hears_of_it_when_the_other_rank_dies_during_a_save(answers: dict[str, Any]) -> None:
    survivor, dead = answers["widowed"]
    assert survivor.startswith("CollectiveFailed: ")
    assert dead is None
