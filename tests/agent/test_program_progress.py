"""The progress file of a program: what is understood, and that nothing in it harms the agent."""

import json
import math
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oarlock_trainer.agent.program_progress import (
    MAX_LINE_BYTES,
    MAX_METRICS,
    BadLineError,
    ProgramProgress,
    ProgressFile,
    parse_line,
)


def test_line_with_everything_is_understood() -> None:
    wire = {
        "step": 3,
        "steps": 9,
        "epoch": 0.5,
        "epochs": 2,
        "loss": 1,
        "metrics": {"validation/accuracy": 0.5, "a/b": 2},
    }

    line = parse_line(json.dumps(wire).encode())

    assert (line.step, line.steps, line.epoch, line.epochs) == (3, 9, 0.5, 2)
    assert line.metrics == {"train/loss": 1.0, "validation/accuracy": 0.5, "a/b": 2.0}


@pytest.mark.parametrize(
    "text",
    [
        b"[]", b"7", b"{", b"\xff\xfe", b"[" * 100_000, b'{"step": -1}', b'{"step": true}', b'{"step": "3"}',
        b'{"step": 1e400}', b'{"step": NaN}', b'{"epoch": ' + b"9" * 5000 + b"}", b'{"metrics": []}',
        b'{"metrics": {"a b": 1}}', b'{"metrics": {"a": "x"}}', b'{"metrics": {"' + b"a" * 200 + b'": 1}}', b'{"loss": null}',
    ],
)  # fmt: skip
def test_line_that_makes_no_sense_is_refused(text: bytes) -> None:
    with pytest.raises(BadLineError):
        parse_line(text)


def test_figure_with_a_name_of_the_run_log_is_left_out_with_a_warning() -> None:
    line = parse_line(b'{"step": 3, "metrics": {"epoch": 9, "attempt": 2, "loss": 1}}')

    assert (line.step, line.metrics) == (3, {"train/loss": 1.0})
    assert "attempt or epoch" in line.problem


@given(st.binary(max_size=300) | st.recursive(st.none() | st.floats() | st.text(), lambda part: st.dictionaries(
    st.sampled_from(["step", "steps", "epoch", "loss", "metrics", "x"]), part)).map(lambda wire: json.dumps(wire).encode()))  # fmt: skip
def test_any_line_is_understood_or_refused(text: bytes) -> None:
    try:
        line = parse_line(text)
    except BadLineError:
        return
    report = ProgramProgress().updated(line, now=5.0).to_report()
    json.dumps(report, allow_nan=False)


def test_figures_stay_bounded_and_the_end_is_forecast_by_the_pace_since_the_first_report() -> None:
    progress = ProgramProgress()
    for step in range(10, 31, 10):
        line = parse_line(
            json.dumps({"step": step, "steps": 100, "metrics": {f"m{step}x{n}": n for n in range(20)}}).encode()
        )
        progress = progress.updated(line, now=float(step))

    assert len(progress.metrics) == MAX_METRICS
    assert progress.to_report()["eta_seconds"] == 70.0
    assert math.isfinite(progress.since)


def test_file_is_read_as_it_grows_and_from_its_start_when_it_shrinks(tmp_path: Path) -> None:
    path = tmp_path / "progress"
    file = ProgressFile(path)

    def append(text: bytes) -> list[bytes]:
        with path.open("ab") as stream:
            stream.write(text)
        return list(file.read_lines())

    assert list(file.read_lines()) == []
    assert append(b"one\ntw") == [b"one"]
    assert append(b"o\n\n") == [b"two"]
    assert append(b"x" * (MAX_LINE_BYTES + 1)) == []
    assert append(b"y" * 5 + b"\nthree\n") == [b"(a line of more than 16 KiB)", b"three"]
    path.write_bytes(b"new\n")
    assert list(file.read_lines()) == [b"new"]


@pytest.mark.parametrize("kind", ["pipe", "folder"])
def test_file_that_is_none_says_nothing(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "progress"
    os.mkfifo(path) if kind == "pipe" else path.mkdir()

    assert list(ProgressFile(path).read_lines()) == []
