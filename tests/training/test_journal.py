"""What is made from the run log for other programs: TensorBoard's event files, the table of metrics."""

import math
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from oarlock_trainer.event_files import EventFiles
from oarlock_trainer.journal import Journal
from oarlock_trainer.run_log import build_line

tensorboard = pytest.importorskip(
    "tensorboard.backend.event_processing.event_accumulator", reason="NOT RUN: no tensorboard"
)


def write_steps(journal: Journal, steps: range) -> None:
    for step in steps:
        journal.write(build_line("step", step, {"train/loss": 1 / step, "learningRate": 0.1}, epoch=step / 4))
        if step % 4 == 0:
            journal.write(
                build_line("validation", step, {"validation/accuracy": step / 100}, epoch=step / 4, time=100.0 + step),
                build_line("pace", step, {"samplesPerSecond": 7.0}, time=100.0 + step),
            )


def make_journal(run_dir: Path, *, steps: range, validated: bool = True) -> Journal:
    journal = Journal(run_dir, steps=100)
    journal.rewind(steps.start - 1, validated=validated)
    write_steps(journal, steps)
    return journal


def read_scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    events = tensorboard.EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
    return {tag: [(point.step, point.value) for point in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def test_tensorboard_reads_each_step_once_when_a_run_was_resumed(tmp_path: Path) -> None:
    killed = make_journal(tmp_path, steps=range(1, 10))
    killed.flush_now_and_then(1e9)
    make_journal(tmp_path, steps=range(9, 13)).close()

    curves = read_scalars(tmp_path / "tensorboard")

    assert [step for step, _ in curves["train/loss"]] == list(range(1, 13))
    assert curves["train/loss"][2][1] == pytest.approx(1 / 3)
    assert [step for step, _ in curves["validation/accuracy"]] == [4, 8, 12]
    assert set(curves) == {"train/loss", "learningRate", "validation/accuracy", "pace/samplesPerSecond"}


def test_a_validation_that_is_done_again_is_taken_back_when_its_state_was_not_saved(tmp_path: Path) -> None:
    make_journal(tmp_path, steps=range(1, 9)).close()
    make_journal(tmp_path, steps=range(9, 10), validated=False).close()

    assert [step for step, _ in read_scalars(tmp_path / "tensorboard")["validation/accuracy"]] == [4]


def test_a_torn_event_is_dropped_when_the_writer_was_killed(tmp_path: Path) -> None:
    make_journal(tmp_path, steps=range(1, 5)).close()
    (path,) = (tmp_path / "tensorboard").iterdir()
    path.write_bytes(path.read_bytes()[:-3])

    make_journal(tmp_path, steps=range(5, 6)).close()

    assert [step for step, _ in read_scalars(tmp_path / "tensorboard")["train/loss"]] == [1, 2, 3, 4, 5]


def test_steps_of_a_long_run_are_joined_to_means_in_event_files(tmp_path: Path) -> None:
    events = EventFiles(tmp_path, steps=10_000)
    events.rewind(0)
    events.take(*(build_line("step", step, {"train/loss": float(step)}) for step in range(1, 11)))
    events.close()

    assert read_scalars(tmp_path / "tensorboard")["train/loss"] == [(5, 3.0), (10, 8.0)]


def test_the_table_has_all_figures_with_times_between_those_that_were_reported(tmp_path: Path) -> None:
    make_journal(tmp_path, steps=range(1, 9)).close()

    table = pq.read_table(tmp_path / "metrics.parquet")
    rows = [row for row in table.to_pylist() if row["kind"] == "step"]

    assert [row["step"] for row in rows] == list(range(1, 9))
    assert [row["time"] for row in rows[3:]] == [104.0, 105.0, 106.0, 107.0, 108.0]
    assert rows[1] | {"train/loss": 0.5, "learningRate": 0.1, "validation/loss": None} == rows[1]
    assert [row["validation/accuracy"] for row in table.to_pylist() if row["kind"] == "validation"] == [0.04, 0.08]


def test_an_empty_log_gives_an_empty_table(tmp_path: Path) -> None:
    journal = Journal(tmp_path, steps=1)
    journal.rewind(0, validated=True)
    journal.close()

    assert pq.read_table(tmp_path / "metrics.parquet").num_rows == 0


def test_a_run_goes_on_and_says_it_once_when_event_files_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "tensorboard").write_text("in the way")
    journal = make_journal(tmp_path, steps=range(1, 5))
    troubles = journal.take_troubles()
    journal.close()

    assert len(troubles) == 1
    assert "TensorBoard" in troubles[0]
    assert pq.read_table(tmp_path / "metrics.parquet").num_rows == 6


def test_a_figure_that_is_not_finite_leaves_a_gap_in_the_table(tmp_path: Path) -> None:
    journal = Journal(tmp_path, steps=1)
    journal.rewind(0, validated=True)
    journal.write(build_line("step", 1, {"train/loss": math.nan, "learningRate": 0.1}))
    journal.close()

    (row,) = pq.read_table(tmp_path / "metrics.parquet").to_pylist()
    assert (row["train/loss"], row["learningRate"]) == (None, 0.1)


def test_a_mean_is_one_of_the_finite_values_alone(tmp_path: Path) -> None:
    events = EventFiles(tmp_path, steps=20_000)  # ten steps a point
    events.rewind(0)
    for step in range(1, 11):
        events.take(build_line("step", step, {"train/loss": 1.0 if step % 2 else math.nan}))
    events.close()

    assert read_scalars(tmp_path / "tensorboard")["train/loss"] == [(10, 1.0)]


def test_a_line_that_no_table_takes_costs_a_warning(tmp_path: Path) -> None:
    journal = make_journal(tmp_path, steps=range(1, 3))
    journal.write(build_line("warning", 2, message="x" * 2_500_000))

    journal.close()

    assert "metrics.parquet is not written any more" in journal.take_troubles()[0]
