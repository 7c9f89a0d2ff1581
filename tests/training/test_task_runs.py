"""The whole trainer on every task, in real processes: it learns, and a resumed run is bitwise the undisturbed one."""

from pathlib import Path
from typing import Any

import pytest
from training.made_datasets import make_task_run, write_task_dataset
from training.small_runs import read_log, read_losses, train_run

from oarlock_api.contract import Outcome
from oarlock_api.v1alpha1.dataset import Task

RATE = {"name": "adamw", "learningRate": 0.003}
RUNS: dict[str, tuple[Task, str, int, dict[str, Any], str]] = {
    "classes": (
        Task.IMAGE_CLASSIFICATION,
        "lenet",
        2,
        {
            "augment": {"mixup": 0.2, "cutmix": 1.0, "noise": 0.02, "rotation": 10},
            "loss": {"classWeights": "balanced"},
            "optimizer": {"name": "adamw", "learningRate": 0.0005},
        },
        "accuracy",
    ),
    "verification": (Task.IMAGE_CLASSIFICATION, "siamese", 2, {"loss": {"name": "contrastive"}}, "accuracy"),
    "segmentation": (
        Task.SEGMENTATION,
        "unet-small",
        1,
        {"loss": {"name": "diceCrossEntropy"}, "augment": {"flip": "both", "crop": 24}},
        "dice",
    ),
    "detection": (Task.OBJECT_DETECTION, "centernet-small", 1, {"augment": {"flip": "horizontal"}}, "map50"),
    "image to image": (Task.IMAGE_TO_IMAGE, "autoencoder", 1, {"augment": {"noise": 0.1}}, "peakSignalToNoise"),
    "texts": (Task.TEXT_CLASSIFICATION, "textcnn", 2, {"microBatchSize": 3}, "accuracy"),
}


@pytest.mark.parametrize("name", RUNS)
def test_every_task_learns_and_resumes_as_if_nothing_had_happened(name: str, tmp_path: Path) -> None:
    task, model, processes, recipe, figure = RUNS[name]
    dataset = write_task_dataset(tmp_path / "data", task)
    run = make_task_run(dataset, model=model, steps=12, recipe={"optimizer": RATE, "deterministic": True, **recipe})

    whole = train_run(run, tmp_path, processes=processes, name="whole")
    suspended = train_run(run, tmp_path, processes=processes, name="parts", stop_at=6)
    train_run(run, tmp_path, processes=processes, name="parts")

    assert (whole.outcome, suspended.outcome) == (Outcome.SUCCEEDED, Outcome.SUSPENDED)
    assert read_losses(tmp_path / "parts") == read_losses(tmp_path / "whole")
    losses = [line["train/loss"] for line in read_log(tmp_path / "whole", "step")]
    assert sum(losses[-3:]) < sum(losses[:3])
    assert f"validation/{figure}" in read_log(tmp_path / "whole", "validation")[-1]
