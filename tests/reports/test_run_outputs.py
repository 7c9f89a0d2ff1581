"""What a whole run leaves behind for people and programs, though it was stopped in the middle."""

from pathlib import Path

import pyarrow.parquet as pq
from tensorboard.backend.event_processing import event_accumulator
from training.small_runs import make_run, read_log, train_run, write_small_dataset

from oarlock_trainer.reports.reading import read_facts


def test_a_run_that_was_resumed_leaves_each_step_once_and_a_whole_report(tmp_path: Path) -> None:
    """The other form of its model takes as long as it takes to see signs of life: without them, there is a warning."""
    version = write_small_dataset(tmp_path / "data")
    model = {"python": {"module": "training.exporting_ranks", "factory": "build_lingering"}}
    run = make_run(version, model=model, steps=14, exportFormats=["torchExport"])
    train_run(run, tmp_path, stop_at=8)
    story = train_run(run, tmp_path)
    folder = tmp_path / "run"
    facts = read_facts(folder, now=1.0)

    steps = [row["step"] for row in pq.read_table(folder / "metrics.parquet").to_pylist() if row["kind"] == "step"]
    assert steps == list(range(1, 15))
    events = event_accumulator.EventAccumulator(str(folder / "tensorboard")).Reload()
    assert [point.step for point in events.Scalars("train/loss")] == list(range(1, 15))
    assert read_log(folder, "warning") == []
    assert {path.name for path in (folder / "export").iterdir()} == {"model.safetensors", "model.json", "model.pt2"}
    assert (facts.state, len(facts.attempts)) == ("trained", 2)
    assert facts.findings is not None
    assert (facts.findings.samples, len(facts.findings.worst)) == (30, 18)
    assert 'id="confusion"' in (folder / "report.html").read_text()
    assert {"startup_seconds", "world_size", "build"} <= set(story.facts)
    assert story.facts["startup_seconds"]["firstStep"] >= 0
