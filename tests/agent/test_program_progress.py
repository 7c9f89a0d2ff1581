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
        b'{"step": 1e400}', b'{"step": NaN}', b'{"epoch": ' + b"9" * 5000 + b"}",
    ],
)  # fmt: skip
def test_line_that_makes_no_sense_is_refused(text: bytes) -> None:
    with pytest.raises(BadLineError):
        parse_line(text)


@pytest.mark.parametrize(
    "metrics",
    [
        '{"bad name!": 1}',
        '{"a": "x"}',
        '{"a": true}',
        '{"epoch": 9}',
        '{"' + "a" * 200 + '": 1}',
        '{"loss": null}',
        "[]",
    ],
)
def test_only_the_figure_is_left_out_when_it_cannot_be_used(metrics: str) -> None:
    below = metrics if metrics == "[]" else metrics.replace("{", '{"validation/accuracy": 0.5, ')
    line = parse_line(f'{{"step": 3, "steps": 5, "accuracy": 1, "metrics": {below}}}'.encode())

    assert (line.step, line.steps, line.metrics["train/accuracy"]) == (3, 5, 1.0)
    assert set(line.metrics) <= {"train/accuracy", "validation/accuracy"}
    assert metrics == "[]" or line.metrics["validation/accuracy"] == 0.5
    assert line.problem


def test_warnings_stay_the_same_when_more_lines_are_bad() -> None:
    progress = ProgramProgress()
    seen = set()
    for step in range(3):
        line = parse_line(json.dumps({"step": step, "metrics": {f"bad {step}": 1}}).encode())
        progress = progress.updated(line, now=1.0).refused_line(f"line {step} is no JSON")
        seen.add(tuple(progress.to_report()["warnings"]))

    assert seen == {
        (
            "lines of the progress file are not used; the first: line 0 is no JSON",
            (
                "figures of the progress file are left out; the first: the name of a metric must be a letter, "
                "then letters, digits and _.-/ (64 at most), found 'bad 0'"
            ),
        )
    }


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
