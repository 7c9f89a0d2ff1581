import json
import math
import os
from pathlib import Path
from typing import Any

import pytest
from agent.pods import make_environment
from hypothesis import given, settings
from hypothesis import strategies as st

from oarlock_api.contract import (
    MAX_TERMINATION_BYTES,
    Cause,
    Failure,
    Outcome,
    PodPhase,
    TerminationRecord,
)
from oarlock_api.metrics import METRICS_BY_NAME
from oarlock_api.termination_record import fit_termination_record
from oarlock_trainer.agent.config import Mode, read_config
from oarlock_trainer.agent.evidence import Verdict
from oarlock_trainer.agent.progress import Progress
from oarlock_trainer.agent.status import Snapshot
from oarlock_trainer.agent.termination import build_termination_record, write_termination_record

_TEXTS = st.text(max_size=6000)
_CHECKPOINTS = st.fixed_dictionaries({"step": st.integers(0, 2**53), "path": st.just("checkpoints/step-000000001")})
_DATASETS = st.fixed_dictionaries(
    {
        "version": st.just("0123456789abcdef"),
        "path": st.just("digits-0123/0123456789abcdef"),
        "classes": st.lists(st.text(max_size=40), max_size=50),
        "classCounts": st.dictionaries(
            st.sampled_from(["train", "validation"]), st.lists(st.integers(0, 10**9), max_size=800)
        ),
        "counts": st.just({"train": 1000, "validation": 100}),
        "firstRejects": st.lists(st.text(max_size=200), max_size=5),
    }
)
_REPORTS = st.fixed_dictionaries(
    {},
    optional={
        "metrics": st.dictionaries(
            st.sampled_from(sorted(METRICS_BY_NAME)) | st.text(max_size=50), st.floats(), max_size=40
        ),
        "warnings": st.lists(_TEXTS, max_size=10),
        "non_finite": st.lists(st.sampled_from(sorted(METRICS_BY_NAME)) | st.text(max_size=200), max_size=40),
        "checkpoint_latest": _CHECKPOINTS,
        "checkpoint_best": _CHECKPOINTS,
        "export": st.just("export/model.safetensors"),
        "steps": st.integers(0, 2**53),
    },
)


def make_record(report: dict[str, Any], failure: Failure | None = None) -> TerminationRecord:
    snapshot = Snapshot(phase=PodPhase.FINISHED, phase_since=0.0, progress=Progress(step=5, position=50, report=report))
    verdict = Verdict(outcome=Outcome.FAILED if failure else Outcome.SUCCEEDED, failure=failure, warnings=("lost",))
    return build_termination_record(read_config(Mode.TRAIN, make_environment(Path("/pod"))), snapshot, verdict)


@given(report=_REPORTS, message=_TEXTS, remedy=_TEXTS, detail=_TEXTS)
@settings(max_examples=150)
def test_record_fits_and_keeps_cause_and_checkpoint_when_training_fails_with_anything(
    report: dict[str, Any], message: str, remedy: str, detail: str
) -> None:
    failure = Failure(cause=Cause.USER_ERROR, message=message, remedy=remedy, detail=detail, rank=3)
    text = fit_termination_record(make_record(report, failure))
    record = TerminationRecord.from_wire(json.loads(text))

    assert len(text.encode()) <= MAX_TERMINATION_BYTES
    assert record.failure is not None
    assert (record.failure["cause"], record.failure["rank"]) == (Cause.USER_ERROR, 3)
    assert record.failure["message"][:20] == message[:20]
    assert (record.checkpoint_latest or {}).get("step") == (report.get("checkpoint_latest") or {}).get("step")
    assert (record.outcome, record.step, record.position) == (Outcome.FAILED, 5, 50)


@given(dataset=_DATASETS)
def test_record_fits_and_keeps_the_counts_when_an_import_succeeds(dataset: dict[str, Any]) -> None:
    text = fit_termination_record(make_record({"dataset": dataset}))
    kept = json.loads(text)["dataset"]

    assert len(text.encode()) <= MAX_TERMINATION_BYTES
    assert (kept["version"], kept["counts"]) == (dataset["version"], dataset["counts"])


def test_figures_that_are_not_finite_are_named_in_the_record() -> None:
    record = make_record(
        {"metrics": {"train/loss": math.nan, "validation/loss": 0.5}, "non_finite": ["train/accuracy"]}
    )

    assert (record.metrics, record.non_finite) == ({"validation/loss": 0.5}, ["train/accuracy", "train/loss"])


def test_cause_and_figures_stay_when_texts_are_long_in_a_script_of_six_bytes_a_letter() -> None:
    checkpoint = {
        "step": 9000,
        "epoch": 12.345678901234,
        "path": "checkpoints/step-000009000",
        "time": 1.7e9 + 0.123456,
    }
    report = {
        "metrics": dict.fromkeys(METRICS_BY_NAME, 0.12345678901234567),
        "non_finite": ["train/loss"],
        **dict.fromkeys(("warnings", "notes"), ["\u9519" * 300] * 3),
        **dict.fromkeys(("checkpoint_latest", "checkpoint_best"), checkpoint),
    }
    long = "\u9519" * 3000
    failure = Failure(cause=Cause.USER_ERROR, message=long, remedy=long, detail=long)
    text = fit_termination_record(make_record(report, failure))
    kept = json.loads(text)

    assert len(text) <= MAX_TERMINATION_BYTES
    assert (kept["failure"]["cause"], kept["nonFinite"]) == (Cause.USER_ERROR, ["train/loss"])
    assert kept["metrics"].keys() == METRICS_BY_NAME.keys()


def test_end_of_the_detail_stays_when_it_is_cut() -> None:
    failure = Failure(cause=Cause.USER_ERROR, message="m", detail="x" * 5000 + "ValueError: the point")
    kept = json.loads(fit_termination_record(make_record({}, failure)))["failure"]

    assert kept["detail"].endswith("ValueError: the point")


def test_record_replaces_the_file_whole_when_the_folder_is_ours(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("x" * 5000)
    before = path.stat().st_ino
    write_termination_record(path, make_record({}))

    assert json.loads(path.read_text())["outcome"] == "Succeeded"
    assert path.stat().st_ino != before
    assert os.listdir(tmp_path) == ["log"]  # noqa: PTH208


def test_record_is_written_in_place_when_nothing_can_be_put_beside_it(tmp_path: Path) -> None:
    """As in Kubernetes, where the file is a mount point in a folder of root's."""
    path = tmp_path / "log"
    path.write_text("x" * 5000)
    (tmp_path / "log.new").mkdir()  # stands in the way for root, too
    write_termination_record(path, make_record({}))

    assert json.loads(path.read_text())["outcome"] == "Succeeded"


def test_error_is_raised_when_the_file_cannot_be_written_at_all(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="absent"):
        write_termination_record(tmp_path / "absent" / "log", make_record({}))
