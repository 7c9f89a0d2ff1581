import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

TESTS = Path(__file__).parents[1]
KILLS = 20


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    seed = int(os.environ.get("OARLOCK_TEST_SEED") or random.randrange(10**6))
    program = [sys.executable, str(TESTS / "checkpointing/kill_program.py")]
    arguments = [str(tmp_path_factory.mktemp("killed")), str(KILLS), str(seed)]
    environment = {**os.environ, "PYTHONPATH": str(TESTS), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*program, *arguments], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return {**json.loads(done.stdout), "seed": f"OARLOCK_TEST_SEED={seed} repeats this run"}


def test_every_visible_checkpoint_is_intact_when_its_writer_was_killed(report: dict[str, Any]) -> None:
    assert [found.get("died") for found in report["rounds"]] == [None] * KILLS, report["seed"]
    assert [found["damaged"] for found in report["rounds"]] == [[]] * KILLS, report["seed"]
    assert any(found["leftovers"] for found in report["rounds"]), "no kill hit a save: the test shows nothing"


def test_no_progress_is_lost_when_the_writer_is_killed(report: dict[str, Any]) -> None:
    newest = [max(found["steps"], default=0) for found in report["rounds"]]
    assert newest == sorted(newest), report["seed"]


def test_training_ends_bitwise_where_it_would_have_ended_when_it_was_killed_at_random(report: dict[str, Any]) -> None:
    assert report["last"] > 0, report["seed"]
    assert report["exact"], report["seed"]
    assert report["end"]["leftovers"] == []
