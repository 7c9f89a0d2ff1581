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
    "optimizer": {"name": "nadam", "learningRate": 0.001},
    "ema": {"decay": 0.5},
    "validation": {"every": {"steps": 6}, "weights": "ema"},
}
"""Synchronised, the batch norms of the residual network do not depend on the number of processes."""
STEPS = 6


@pytest.fixture(scope="module")
def whole(dataset_folder: Path, version: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run on two processes."""
    folder = tmp_path_factory.mktemp("sharded")
    (folder / "data").symlink_to(dataset_folder / "data")
    train_run(make_sharded_run(version), folder, processes=2, name="whole")
    return folder / "whole"


def make_sharded_run(version: str, **recipe: Any) -> WorkerRun:
    described = {"checkpointEvery": {"steps": 2}, "trainingHash": "0123456789abcdef"}
    return make_run(version, model="resnet", steps=STEPS, recipe={**RECIPE, **recipe}, **described)


@pytest.fixture(scope="module")
def on_four(whole: Path, version: str) -> Path:
    """The folder of the same run, from its second step on on four processes."""
    return resume(whole, version, step=2, processes=4)


def resume(before: Path, version: str, *, step: int, processes: int, **recipe: Any) -> Path:
    """Train on from the checkpoint of a step, as after a crash, and return the folder."""
    folder = before.with_name(f"on-{processes}")
    shutil.copytree(before, folder)
    for later in range(step + 2, STEPS + 1, 2):
        shutil.rmtree(folder / f"checkpoints/step-{later:09}")
    train_run(make_sharded_run(version, **recipe), folder.parent, processes=processes, name=folder.name)
    assert f"from the checkpoint of step {step}" in read_log(folder, "start")[-1]["message"]
    return folder


def read_losses(run_dir: Path) -> list[float]:
    return [line["train/loss"] for line in read_log(run_dir, "step")]


def test_every_process_writes_its_part_of_the_parameters(whole: Path) -> None:
    files = {path.name: path.stat().st_size for path in (whole / "checkpoints/step-000000006").glob("*.distcp")}
    assert max(files.values()) < 0.6 * sum(files.values())


def test_a_run_is_bitwise_the_same_when_it_is_suspended_and_resumed(whole: Path, version: str) -> None:
    run, folder = make_sharded_run(version), whole.parent
    suspended = train_run(run, folder, processes=2, name="parts", stop_at=2, stopped_rank=1)
    stopped_after = len(read_losses(folder / "parts"))
    train_run(run, folder, processes=2, name="parts")
    assert suspended.outcome is Outcome.SUSPENDED
    assert 2 <= stopped_after < STEPS
    assert read_losses(folder / "parts") == read_losses(whole)
    ours, theirs = (load_file(run_dir / "export/model.safetensors") for run_dir in (folder / "parts", whole))
    assert all(ours[name].equal(theirs[name]) for name in theirs)


@pytest.mark.parametrize(("processes", "parallelism"), [(4, "fsdp"), (3, "fsdp"), (1, "ddp")])
def test_a_run_goes_on_alike_when_it_resumes_on_another_number_of_processes(
    whole: Path, on_four: Path, version: str, *, processes: int, parallelism: str
) -> None:
    """From two to four, and with what four have written to three, and to one that holds everything."""
    if processes == 4:
        resumed = on_four
    else:
        resumed = resume(on_four, version, step=4, processes=processes, parallelism=parallelism)
    assert read_losses(resumed) == pytest.approx(read_losses(whole), rel=1e-5)
    assert read_log(resumed, "validation")[-1]["validation/loss"] == pytest.approx(
        read_log(whole, "validation")[-1]["validation/loss"], rel=1e-5
    )
