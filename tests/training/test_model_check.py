"""Whether a model fits the data is found out in a pod of its own, without GPUs: in the words that training would say."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from training.small_runs import make_run, write_small_dataset

from oarlock_api.contract import EXIT_CODES, EXIT_SUCCESS, Cause, Outcome
from oarlock_trainer import model_check
from oarlock_trainer.rank_record import RANK_RECORD_DIR_ENV, RankReading, rank_record_path, read_rank_record

OWN = """
from torch import nn
def build(sample_shape, outputs):
    if {raises}: raise ValueError("no such width")
    return nn.Sequential(nn.Flatten(), nn.Linear({inputs}, outputs))
"""


def check(folder: Path, monkeypatch: pytest.MonkeyPatch, model: dict[str, Any]) -> tuple[int, RankReading]:
    version = write_small_dataset(folder / "data")
    run = make_run(version, model=model, gpu=True)
    variables = {
        "OARLOCK_RUN": json.dumps(run.to_wire()),
        "OARLOCK_DATA_DIR": str(folder / "data"),
        "OARLOCK_RUN_DIR": str(folder / "none"),
        "RANK": "0",
        "LOCAL_RANK": "0",
        RANK_RECORD_DIR_ENV: str(folder),
    }
    for name, value in variables.items():
        monkeypatch.setitem(os.environ, name, value)
    code = model_check.main()
    reading = read_rank_record(rank_record_path(folder, 0))
    assert reading is not None
    return code, reading


def own_model(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, **texts: object) -> dict[str, Any]:
    (folder / f"{name}.py").write_text(OWN.format(**{"raises": False, "inputs": 256, **texts}))
    monkeypatch.syspath_prepend(str(folder))
    return {"python": {"module": name, "factory": "build"}}


def test_nothing_is_said_when_the_model_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, reading = check(tmp_path, monkeypatch, own_model(tmp_path, monkeypatch, "fitting_model"))

    assert (code, reading.outcome) == (EXIT_SUCCESS, Outcome.SUCCEEDED)
    assert not (tmp_path / "none").exists()


def test_shapes_are_said_when_the_model_does_not_take_the_samples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, reading = check(tmp_path, monkeypatch, own_model(tmp_path, monkeypatch, "narrow_model", inputs=100))

    assert code == EXIT_CODES[Cause.USER_ERROR]
    assert reading.failure is not None
    assert "[N, 1, 16, 16]" in reading.failure.message


def test_the_exception_is_said_when_the_users_code_raises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, reading = check(tmp_path, monkeypatch, own_model(tmp_path, monkeypatch, "raising_model", raises=True))

    assert code == EXIT_CODES[Cause.USER_ERROR]
    assert reading.failure is not None
    assert "no such width" in reading.failure.message
