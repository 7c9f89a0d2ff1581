"""FSDP: whole runs whose parameters are spread over processes, and what becomes of them on another number of processes."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from training.small_runs import make_run, read_log, train_run

from oarlock_api.contract import Outcome
from oarlock_api.run import WorkerRun

RECIPE = {
    "batchSize": 12,
    "parallelism": "fsdp",
    "batchNorm": "synchronized",
    "gradientClipNorm": 1.0,
    "optimizer": {"name": "sgd", "learningRate": 0.01},
    "ema": {"decay": 0.5},
    "validation": {"every": {"steps": 5}, "weights": "ema"},
}
"""Synchronised, the batch norms of the residual network do not depend on the number of processes."""


@pytest.fixture(scope="module")
def whole(dataset_folder: Path, version: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run on two processes."""
    folder = tmp_path_factory.mktemp("sharded")
    (folder / "data").symlink_to(dataset_folder / "data")
    train_run(make_sharded_run(version), folder, processes=2, name="whole")
    return folder / "whole"


def make_sharded_run(version: str, **recipe: Any) -> WorkerRun:
    return make_run(version, model="resnet", steps=10, recipe={**RECIPE, **recipe}, trainingHash="0123456789abcdef")


def resume(whole: Path, version: str, *, processes: int, **recipe: Any) -> Path:
    """Train on from the checkpoint of step 5, as after a crash, and return the folder."""
    folder = whole.with_name(f"on-{processes}")
    shutil.copytree(whole, folder)
    shutil.rmtree(folder / "checkpoints/step-000000010")
    train_run(make_sharded_run(version, **recipe), folder.parent, processes=processes, name=folder.name)
    assert "from the checkpoint of step 5" in read_log(folder, "start")[-1]["message"]
    return folder


def read_losses(run_dir: Path) -> list[float]:
    return [line["train/loss"] for line in read_log(run_dir, "step")]


def test_every_process_writes_its_part_of_the_parameters(whole: Path) -> None:
    files = {path.name: path.stat().st_size for path in (whole / "checkpoints/step-000000010").glob("*.distcp")}
    assert max(files.values()) < 0.6 * sum(files.values())


def test_a_run_is_bitwise_the_same_when_it_is_suspended_and_resumed(whole: Path, version: str) -> None:
    run, folder = make_sharded_run(version), whole.parent
    suspended = train_run(run, folder, processes=2, name="parts", stop_at=3, stopped_rank=1)
    stopped_after = len(read_losses(folder / "parts"))
    train_run(run, folder, processes=2, name="parts")
    assert suspended.outcome is Outcome.SUSPENDED
    assert 3 <= stopped_after < 10
    assert read_losses(folder / "parts") == read_losses(whole)
    ours, theirs = (load_file(run_dir / "export/model.safetensors") for run_dir in (folder / "parts", whole))
    assert all(ours[name].equal(theirs[name]) for name in theirs)


@pytest.mark.parametrize(("processes", "parallelism"), [(3, "fsdp"), (1, "ddp")])
def test_a_run_goes_on_alike_when_it_resumes_on_another_number_of_processes(
    whole: Path, version: str, *, processes: int, parallelism: str
) -> None:
    resumed = resume(whole, version, processes=processes, parallelism=parallelism)
    assert read_losses(resumed) == pytest.approx(read_losses(whole), rel=1e-5)
    assert read_log(resumed, "validation")[-1]["validation/loss"] == pytest.approx(
        read_log(whole, "validation")[-1]["validation/loss"], rel=1e-5
    )
