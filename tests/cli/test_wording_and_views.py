"""What people read: figures in words, objects in a line, curves in dots."""

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from oarlock.cli.curves import place_side_by_side, plot
from oarlock.cli.live_screen import LiveScreen, build_line, build_view
from oarlock.cli.plain_screen import PlainScreen
from oarlock.cli.summary import print_outcome
from oarlock.cli.views import view
from oarlock.cli.wording import count_epochs, format_bytes, format_duration, format_epochs
from oarlock.local.runs_folder import RunsFolder
from oarlock.running.outcomes import End, Outcome

Object = dict[str, Any]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0 s"), (59.6, "1 min"), (61, "1 min 1 s"), (3600, "1 h"), (11_100, "3 h 5 min"), (200_000, "2 d 7 h")],
)
def test_duration_is_said_in_two_units_at_most(seconds: float, words: str) -> None:
    assert format_duration(seconds) == words


def test_amounts_are_rounded_for_people() -> None:
    assert [format_bytes(n) for n in (17, 2048, 5.5 * 2**30, 3 * 2**60)] == ["17 B", "2.0 KiB", "5.5 GiB", "3072.0 PiB"]
    assert [format_epochs(e) for e in (2.0, 10.0011, 3.52)] == ["2", "10", "3.5"]


def make_job(phase: str = "Training", **status: Any) -> Object:
    return {
        "kind": "TrainingJob",
        "metadata": {"name": "lenet", "namespace": "default"},
        "status": {"phase": phase, **status},
    }


PROGRESS = {
    "epoch": 5.3,
    "epochs": 10,
    "step": 311,
    "steps": 586,
    "etaSeconds": 18,
    "metrics": {
        "train/loss": 0.08212,
        "train/accuracy": 0.974,
        "validation/loss": 0.079,
        "validation/accuracy": 0.9792,
        "samplesPerSecond": 1250.4,
        "learningRate": 0.0015,
    },
}


def render(item: Object) -> str:
    console = Console(file=io.StringIO(), width=120, color_system=None)
    console.print(build_view(view(item), seconds=38))
    return str(console.file.getvalue())  # type: ignore[attr-defined]


def test_training_shows_how_far_how_good_and_how_fast() -> None:
    text = render(make_job(reason="Validating", progress=PROGRESS))

    for words in (
        "TrainingJob lenet  Training (validating)  38 s",
        "53 %",
        "epoch 5.3/10 · step 311/586 · 18 s left",
        "loss 0.08212 · accuracy 97.40 % · 1,250 samples/s · learning rate 0.0015",
        "validation loss 0.079 · validation accuracy 97.92 %",
    ):
        assert words in text


def test_a_figure_that_is_not_finite_is_shown_as_that() -> None:
    broken = {"metrics": {"validation/loss": 0.079}, "nonFinite": ["train/loss", "validation/accuracy"]}
    text = render(make_job(progress={**PROGRESS, **broken}))

    assert "loss not finite" in text
    assert "validation loss 0.079 · validation accuracy not finite" in text


def test_waiting_says_why_and_running_does_not() -> None:
    assert "Insufficient nvidia.com/gpu" in render(make_job("Starting", message="Insufficient nvidia.com/gpu"))
    assert "attempt 0" not in render(make_job("Training", message="attempt 0 on node x"))


def test_suspending_is_not_suspended_and_shows_the_safe_step() -> None:
    checkpoint = {"latest": {"step": 400, "epoch": 6.8, "path": "x"}}
    text = render(make_job("Suspended", reason="Suspending", progress=PROGRESS, checkpoint=checkpoint))

    assert "lenet  Suspending" in text
    assert "step 400/586" in text
    assert "checkpoint of step 400 is safe" in text


def make_dataset(phase: str, **status: Any) -> Object:
    return {
        "kind": "Dataset",
        "metadata": {"name": "digits", "namespace": "default"},
        "status": {"phase": phase, **status},
    }


def test_imported_data_is_one_line() -> None:
    facts = {
        "version": "1",
        "samples": 5000,
        "classCount": 10,
        "sampleShape": [28, 28, 1],
        "counts": {"train": 3750},
        "rejected": 2,
    }
    line = build_line(view(make_dataset("Ready", **facts)), seconds=6).plain

    shape = "28\u00d728 gray"
    assert (
        line == f"✓ Dataset digits  Ready  5,000 samples in 10 classes · {shape} · train 3,750 · 2 files rejected  6 s"
    )


def test_single_things_are_singular() -> None:
    facts = {"version": "1", "samples": 1, "classCount": 1, "rejected": 1}
    line = build_line(view(make_dataset("Ready", **facts)), seconds=0).plain

    assert "1 sample in 1 class" in line
    assert "1 file rejected" in line
    assert [count_epochs(epochs) for epochs in (1, 2, 0.5)] == ["1 epoch", "2 epochs", "0.5 epochs"]


def test_warnings_and_rejected_files_are_named_when_the_import_is_done(tmp_path: Path) -> None:
    facts = {
        "version": "1",
        "rejected": 3,
        "warnings": ["14 [of] 18 are odd"],
        "firstRejects": ["a.png: too short", "b.png: [not] an image"],
    }
    outcome = Outcome(end=End.SUCCEEDED, object=make_dataset("Ready", **facts), seconds=1)
    console = Console(file=io.StringIO(), width=120)
    print_outcome(console, outcome, RunsFolder(root=tmp_path))

    assert console.file.getvalue().splitlines() == [  # type: ignore[attr-defined]
        "! digits: 14 [of] 18 are odd",
        "! digits: 3 files rejected",
        "  a.png: too short",
        "  b.png: [not] an image",
        "  and 1 more, all named in dataset.json beside the data",
    ]


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_plain_lines_come_at_events_and_every_five_seconds() -> None:
    console, clock = Console(file=io.StringIO(), width=200), Clock()
    screen = PlainScreen(console, clock=clock)
    for clock.now, step in ((0, 0), (1, 10), (4, 40), (5, 50), (6, 60), (11, 110)):
        screen.show(make_job(progress={"step": step, "steps": 586}))
    screen.show(make_job("Failed", message="out of memory"))

    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert [line.partition("step ")[2] for line in lines] == ["0/586", "50/586", "110/586", ""]
    assert lines[-1] == "TrainingJob lenet: Failed: out of memory"


@pytest.mark.parametrize(("quiet", "lines"), [(0, 2), (1, 1), (2, 0)])
def test_quiet_leaves_out_progress_first(quiet: int, lines: int) -> None:
    console = Console(file=io.StringIO())
    screen = PlainScreen(console, quiet=quiet)
    screen.note("fitted")
    screen.show(make_job())

    assert len(console.file.getvalue().splitlines()) == lines  # type: ignore[attr-defined]


def test_live_display_leaves_one_line_of_each_object() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=100, color_system=None)
    with LiveScreen(console) as screen:
        screen.show(make_dataset("Importing", progress={"samples": 1, "total": 2}))
        screen.show(make_dataset("Ready", version="1", samples=2, classCount=2))
        screen.settle()
        screen.note("saving a checkpoint")

    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "✓ Dataset digits  Ready  2 samples in 2 classes" in text
    assert "saving a checkpoint" in text


def test_plot_has_the_curve_and_its_ends() -> None:
    line = [(step / 100, 2.0 - step / 60) for step in range(101)]
    rows = plot(
        "loss",
        line,
        [(1.0, 0.5)],
        names=("train", "validation"),
        styles=("cyan", "yellow"),
        size=(20, 5),
        label=lambda y: f"{y:.1f}",
    )

    assert len(rows) == 7
    assert rows[0].startswith("[bold]loss[/]")
    assert rows[1].startswith("[dim]2.0 │[/][cyan]")
    assert "•" in "".join(rows[1:])
    assert rows[-1].endswith("epoch 1[/]")


def test_a_plot_ends_at_the_epoch_that_a_run_ends_at_when_it_is_not_a_whole_one() -> None:
    line = [(0.1, 2.0), (0.3, 1.0)]

    rows = plot("loss", line, [], names=("", ""), styles=("", ""), size=(20, 5), label=str)

    assert rows[-1].endswith("epoch 0.3[/]")


@pytest.mark.parametrize(
    ("line", "points"),
    [
        ([], []),
        ([(1.0, 0.5)], []),
        ([(0.0, 1.0), (1.0, 1.0)], []),
        ([], [(0.0, 1.0)]),
        ([(1.0, 3.0)] * 1000, [(1.0, 3.0)]),
    ],
    ids=["nothing", "one point", "flat", "only validations", "no width"],
)
def test_plot_copes_when_curves_are_degenerate(
    line: list[tuple[float, float]], points: list[tuple[float, float]]
) -> None:
    rows = plot(
        "loss", line, points, names=("a", "b"), styles=("cyan", "yellow"), size=(10, 3), label=lambda y: f"{y:.1f}"
    )

    assert len(rows) in (0, 5)
    assert place_side_by_side(rows, [], width=20) == rows
