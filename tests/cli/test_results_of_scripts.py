"""What is said of a program that has run: files that are there, and what it printed."""

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from oarlock.cli.report import build_report
from oarlock.cli.report_page import write_report
from oarlock.cli.summary import print_outcome
from oarlock.local.runs_folder import RunsFolder
from oarlock.running.outcomes import End, Outcome

UID = "c68b8e55-417f-4270-8dbf-f018e11a5563"
JOB: dict[str, Any] = {
    "kind": "TrainingJob",
    "metadata": {"name": "l0", "namespace": "default", "uid": UID},
    "status": {"phase": "Succeeded", "run": {"script": {}, "checkpoints": {"claim": "l0-checkpoints"}}},
}
OUTCOME = Outcome(end=End.SUCCEEDED, object=JOB, seconds=12)


@pytest.fixture
def runs(tmp_path: Path) -> RunsFolder:
    runs = RunsFolder(root=tmp_path)
    (runs.claim("default", "l0-checkpoints") / UID / "logs").mkdir(parents=True)
    for pod in ("0-0", "1-0", "1-1"):
        (runs.logs / "default").mkdir(parents=True, exist_ok=True)
        (runs.logs / "default" / f"l0-c68b8e55-{pod}.log").write_text("hello\n")
    return runs


def summarise(runs: RunsFolder) -> str:
    said = io.StringIO()
    print_outcome(Console(file=said, width=120, color_system=None), OUTCOME, runs)
    return said.getvalue()


def test_output_is_named_and_no_log_when_a_program_reported_nothing(runs: RunsFolder) -> None:
    text = summarise(runs)
    (entry,) = build_report([OUTCOME], runs)["objects"]

    assert "l0-c68b8e55-1-0.log" in text
    assert "log.jsonl" not in text
    assert Path(entry["output"]).read_text() == "hello\n"
    assert "log" not in entry


def test_log_is_named_when_a_program_has_told_its_steps(runs: RunsFolder) -> None:
    (runs.claim("default", "l0-checkpoints") / UID / "log.jsonl").write_text("")
    (entry,) = build_report([OUTCOME], runs)["objects"]

    assert entry["log"].endswith("log.jsonl")


def test_report_says_where_the_output_is_when_there_is_nothing_to_draw(
    runs: RunsFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = runs.claim("default", "l0-checkpoints") / UID

    assert write_report(folder, title="", output=None, opens=False) == 1
    assert f"no figures were reported, so there is nothing to draw. What was printed is in {folder / 'logs'}" in (
        capsys.readouterr().err
    )


def test_latest_timeline_is_named_when_steps_were_traced(runs: RunsFolder) -> None:
    traces = runs.claim("default", "l0-checkpoints") / UID / "traces"
    traces.mkdir()
    for name in ("step-000000020.json.gz", "step-100000040.json.gz", "step-200000060.json.gz.partial"):
        (traces / name).touch()

    assert "traces/step-100000040.json.gz\n" in summarise(runs)
