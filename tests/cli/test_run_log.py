"""What a run's log tells of its end, however it was interrupted."""

import json
from pathlib import Path
from typing import Any

import pytest

from oarlock.cli.run_log import read_last_steps

NAMES = ("train/accuracy", "train/loss")


def write(path: Path, *lines: dict[str, Any], begin: str = "") -> Path:
    log = path / "log.jsonl"
    log.write_text(begin + "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines))
    return log


def make_steps(count: int, *, per_epoch: int) -> list[dict[str, Any]]:
    return [
        {"kind": "step", "step": step, "epoch": step / per_epoch, "train/loss": 1.0 / step}
        for step in range(1, count + 1)
    ]


def test_steps_of_the_last_epoch_are_averaged(tmp_path: Path) -> None:
    steps = make_steps(8, per_epoch=4)
    end = read_last_steps(write(tmp_path, *steps), NAMES)

    assert end is not None
    assert end.steps == 4
    assert end.means == {"train/loss": pytest.approx((1 / 5 + 1 / 6 + 1 / 7 + 1 / 8) / 4)}


def test_the_same_is_told_when_the_run_was_interrupted(tmp_path: Path) -> None:
    """Reports and events come at other steps then; the steps are the same."""
    steps = make_steps(6, per_epoch=3)
    (tmp_path / "resumed").mkdir()
    events = [{"kind": "start", "step": 4, "message": "from the checkpoint of step 4"}, {"kind": "pace", "step": 5}]
    plain = write(tmp_path, *steps)
    resumed = write(tmp_path / "resumed", *steps[:4], *events, *steps[4:])

    assert read_last_steps(plain, NAMES) == read_last_steps(resumed, NAMES)


def test_long_epochs_are_told_by_their_last_thousand_steps(tmp_path: Path) -> None:
    end = read_last_steps(write(tmp_path, *make_steps(1200, per_epoch=5000)), NAMES)
    assert end is not None
    assert end.steps == 1000


def test_nothing_is_told_when_there_are_no_steps_or_figures(tmp_path: Path) -> None:
    bare = {"kind": "step", "step": 1, "epoch": 0.5}
    assert read_last_steps(tmp_path / "nowhere", NAMES) is None
    assert read_last_steps(write(tmp_path, {"kind": "start", "step": 0}), NAMES) is None
    assert read_last_steps(write(tmp_path, bare), NAMES) is None


def test_torn_lines_are_passed_over(tmp_path: Path) -> None:
    log = write(tmp_path, *make_steps(2, per_epoch=2), begin='oss":1,"kind":"step"}\n')
    log.write_text(log.read_text() + '{"kind":"step","step":3,"ep')
    end = read_last_steps(log, NAMES)
    assert end is not None
    assert end.steps == 2
