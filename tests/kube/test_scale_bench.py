"""The measurement of scale itself: it stays alive, and what it counts adds up."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from control_plane.server import ControlPlane

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.kube


def test_a_small_burst_is_measured_to_the_end(control_plane: ControlPlane, tmp_path: Path) -> None:
    if control_plane.is_external:
        pytest.skip("NOT RUN: the bench starts a control plane of its own, with an audit log and lifted limits")
    figures = tmp_path / "figures.json"
    sizes = ("--jobs", "10", "--full", "4", "--rounds", "1", "--idle-seconds", "0.2", "--patience", "120")

    ended = subprocess.run(
        [sys.executable, str(ROOT / "bench" / "scale.py"), *sizes, "--json", str(figures)],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )

    assert ended.returncode == 0, ended.stderr[-3000:]
    assert "ratio of pairs to Jobs, p99" in ended.stdout
    found = json.loads(figures.read_text())
    jobs, pairs, full = found["outcomes"]
    assert len(found["floor"]) == 10
    assert jobs["calls"]["job-controller"]["create pods"] == 20
    assert pairs["calls"]["oarlock-operator"]["create pods"] == 20
    assert full["calls"]["oarlock-operator"]["create services"] == 4
    assert [len(each["seconds"]) for each in (jobs, pairs, full)] == [10, 10, 4]
