"""The benches of speed: they stay alive, take turns, and count right. What they measure is of no interest here."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from oarlock_trainer.agent.config import Mode, read_config

BENCH = Path(__file__).resolve().parents[2] / "bench"


@pytest.fixture(autouse=True)
def _bench(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCH))


def make_setup(**changes: Any) -> Any:
    from speed.setup import Setup

    facts = {"model": "lenet", "processes": 1, "batch": 8, "side": 28, "channels": 1, "classes": 10, "samples": 64}
    choices = {"cpus": 1, "workers": 0, "gpu": False, "bf16": False, "compiles": False}
    return Setup(**{**facts, **choices, "stretch": 2, "pairs": 3, **changes})


@pytest.mark.train
def test_contenders_train_in_turns_and_the_table_has_their_ratio(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    sizes = ("--pairs", "2", "--stretch", "2", "--batch", "8", "--samples", "64", "--json", str(figures))
    ended = subprocess.run(
        [sys.executable, str(BENCH / "throughput.py"), "--only", "oarlock", *sizes],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )

    assert ended.returncode == 0, ended.stderr[-3000:]
    head, _, bare, ours = ended.stdout.splitlines()
    assert head.startswith("lenet, fp32, 1 process on CPU, batch 8, 64 samples of 28x28x1, 2 turns of 2 steps each")
    assert (bare.split()[0], bare.split()[3]) == ("bare", "1.000")
    assert ours.startswith("oarlock ")
    found = json.loads(figures.read_text())
    assert {name: len(each["wall"]) for name, each in found.items()} == {"bare": 2, "oarlock": 2}
    assert all(seconds > 0 for each in found.values() for seconds in (*each["wall"], *each["processor"]))


def test_row_says_why_when_a_contender_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    from speed.contenders import NEEDS, Figures, find_absent
    from speed.table import describe_table

    monkeypatch.setitem(NEEDS, "lightning", ("no_such_module",))
    bare = Figures(wall=[0.02, 0.04], processor=[0.02, 0.02])
    ours = Figures(wall=[0.02, 0.05], processor=[0.03, 0.03])
    results = {"bare": bare, "oarlock": ours, "lightning": find_absent("lightning")}
    _, _, _, row, absent = describe_table(make_setup(), results, data_waits={"oarlock": 0.00035})

    assert row.split() == [
        "oarlock",
        "35.00",
        "229",
        "0.900",
        "0.800",
        "to",
        "1.000",
        "30.0",
        "0.350",
        "ms",
        "=",
        "1.0",
        "%",
    ]
    assert absent.split("NOT RUN: ")[1].startswith("no_such_module is not installed")


def test_job_of_the_startup_bench_is_one_that_the_agent_takes(tmp_path: Path) -> None:
    from startup import build_environment

    environment = build_environment(make_setup(version="1"), tmp_path / "data", tmp_path)
    config = read_config(Mode.TRAIN, environment)

    assert (config.processes, config.run_dir) == (1, tmp_path / "run")


def test_phases_add_up_to_the_time_until_the_first_step() -> None:
    from startup import BEFORE, TOTAL, Round, account, describe

    start = account({"Starting": 2.0, "Loading": 0.5}, 4.0)
    assert start == {BEFORE: 1.5, "Starting": 2.0, "Loading": 0.5, TOTAL: 4.0}
    lines = list(describe([Round(start=start, again={**start, "Checkpointing": 0.25, TOTAL: 5.0})]))
    assert [line.split()[-2:] for line in lines[1:4]] == [["1.500", "1.500"], ["2.000", "2.000"], ["0.500", "0.500"]]
    assert lines[-1].split() == ["to", "the", "next", "new", "step", "5.000"]
