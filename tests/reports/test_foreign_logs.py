"""Reports of logs that the trainer did not write, or that somebody has touched."""

import json
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oarlock_api.metrics import COMPUTING_PARTS
from oarlock_trainer.reports.page import build_page
from oarlock_trainer.reports.reading import read_facts

GOOD = [
    {"kind": "start", "step": 0, "time": 10.0, "message": "begun"},
    {"kind": "step", "step": 1, "epoch": 0.5, "train/loss": 2.0},
    {"kind": "step", "step": 2, "epoch": 1.0, "train/loss": 1.0, "time": 20.0, "attempt": 0},
]
BAD = [
    {"kind": "warning", "step": 2, "message": "no time"},
    {"kind": "start", "step": 2, "time": 1e300},
    {"kind": "start", "step": 2, "time": 12.0, "startSeconds": "long"},
    {"kind": "step", "step": 2, "epoch": 1.0, "train/loss": None},
    {"kind": "step", "step": 2, "epoch": "one", "train/loss": 1.0},
    {"kind": "step", "step": 10**400, "epoch": 1.0},
    {"kind": "validation", "step": True, "epoch": 1.0},
    {"kind": "validation", "step": 2, "epoch": 1.0, "validation/loss": float("inf")},
    {"kind": "checkpoint", "step": 2, "time": 12.0, "checkpoint": "none"},
    {"kind": "checkpoint", "step": 2, "time": 12.0, "checkpoint": {"step": None}},
    [],
]


def write_log(folder: Path, lines: list[Any]) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def test_lines_that_make_no_sense_are_left_out_and_counted(tmp_path: Path) -> None:
    facts = read_facts(write_log(tmp_path, [*GOOD, *BAD]), now=30.0)

    assert facts.warnings == ((2, "11 lines of log.jsonl made no sense and were left out"),)
    assert facts.charts[0].curves[0].points == [(0.5, 2.0), (1.0, 1.0)]
    assert build_page(facts) == build_page(read_facts(tmp_path, now=30.0))


def test_program_without_epochs_has_its_curves_over_steps_and_its_own_figures(tmp_path: Path) -> None:
    """As a session writes its log, and as the agent does, for which nothing told is epoch 0."""
    steps = [{"kind": "step", "step": n, "train/loss": 1.0 / n, "score/a": n, "epoch": 0.0} for n in (1, 2)]
    validation = {"kind": "validation", "step": 2, "validation/loss": 3.0, "validation/score/a": 7.0, "time": 11.0}
    checkpoint = {"kind": "checkpoint", "step": 2, "time": 12.0, "checkpoint": {"step": 2, "epoch": 4e-19}}
    facts = read_facts(write_log(tmp_path, [*steps, validation, checkpoint]), now=30.0)
    loss, own = facts.charts

    assert (loss.title, loss.across, own.title, own.across) == ("Loss", "step", "score/a", "step")
    assert [list(curve.points) for curve in loss.curves] == [[(1, 1.0), (2, 0.5)], [(2, 3.0)]]
    assert [list(curve.points) for curve in own.curves] == [[(1, 1), (2, 2)], [(2, 7.0)]]
    assert facts.headline[-1] == ("steps", "2", "")
    assert (facts.checkpoints[0].epoch, facts.state) == (None, "")
    page = build_page(facts)
    assert ">step</text>" in page
    assert 'id="recipe"' not in page


def test_figures_of_a_programs_own_that_are_too_many_are_counted(tmp_path: Path) -> None:
    figures = {f"a{number:02}": 1.0 for number in range(26)}
    facts = read_facts(write_log(tmp_path, [{"kind": "step", "step": 1, **figures}]), now=30.0)

    assert [chart.title for chart in facts.charts] == list(figures)[:24]
    assert facts.warnings == ((1, "2 more figures, from a24 on, are in log.jsonl alone"),)


def test_line_that_is_still_being_written_is_nothing_to_tell_of(tmp_path: Path) -> None:
    with (write_log(tmp_path, GOOD) / "log.jsonl").open("a") as log:
        log.write('{"kind": "st')

    assert read_facts(tmp_path, now=30.0).warnings == ()


VALUES: st.SearchStrategy[Any] = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.just([]) | st.just({})
)
NAMES = ["epoch", "time", "train/loss", "validation/loss", "stepSeconds", "dataWaitSeconds", "samplesPerSecond"]
NAMES += [
    "computeSeconds",
    *COMPUTING_PARTS,
    "gpuMemoryBytes",
    "message",
    "startSeconds",
    "seconds",
    "checkpointStallSeconds",
    "checkpoint",
    "nonFinite",
]
KINDS = ["step", "pace", "validation", "checkpoint", "start", "warning", "export", "other"]
LINES = st.builds(
    lambda kind, step, rest: {"kind": kind, "step": step, **rest},
    st.sampled_from(KINDS),
    st.integers(0, 2**60),
    st.dictionaries(st.sampled_from(NAMES), st.floats(0, 1e9) | VALUES, max_size=6),
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(lines=st.lists(LINES, max_size=8))
def test_any_log_has_a_report(tmp_path: Path, lines: list[Any]) -> None:
    assert "<html" in build_page(read_facts(write_log(tmp_path, lines), now=30.0))
