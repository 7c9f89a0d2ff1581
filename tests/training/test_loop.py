"""The whole loop on a small data set, in real processes."""

import gzip
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from training.forked_ranks import RankFailedError
from training.small_runs import (
    CLASSES,
    COUNTS,
    make_run,
    read_log,
    read_losses,
    read_validations,
    read_with,
    trace,
    train_run,
    write_small_dataset,
)

from oarlock_api.contract import Outcome, PodPhase
from oarlock_api.metrics import COMPUTING_PARTS
from oarlock_api.v1alpha1.training_job import Model
from oarlock_trainer.datasets import open_dataset
from oarlock_trainer.models import SampleForm, build_model
from oarlock_trainer.step_parts import StepPart

NETS = """
from torch import nn

def build(outputs, sample_shape):
    height, width, channels = sample_shape
    return nn.Sequential(nn.Flatten(), nn.Linear(height * width * channels, outputs))
"""


def test_a_run_learns_reports_and_exports(dataset_folder: Path, version: str, tmp_path: Path) -> None:
    (tmp_path / "data").symlink_to(dataset_folder / "data")

    story = train_run(make_run(version, steps=40), tmp_path, processes=2)

    assert story.outcome is Outcome.SUCCEEDED
    assert story.facts["metrics"]["validation/accuracy"] == 1.0
    assert story.facts["steps"] == 40
    assert story.facts["export"] == "export/model.safetensors"
    assert sorted(read_losses(tmp_path / "run")) == list(range(1, 41))
    assert {PodPhase.LOADING, PodPhase.TRAINING, PodPhase.VALIDATING, PodPhase.EXPORTING} <= set(story.phases)
    for line in read_log(tmp_path / "run", "pace"):
        parts = [line[name] for name in ("dataWaitSeconds", *COMPUTING_PARTS)]
        assert min(parts[1:-1]) > 0
        assert sum(parts) == pytest.approx(line["stepSeconds"])


@pytest.mark.parametrize(("model", "processes", "precision"), [("mlp", 1, "fp16"), ("resnet", 3, "fp32")])
def test_losses_are_bitwise_the_same_when_a_run_is_suspended_and_resumed(
    dataset_folder: Path, version: str, tmp_path: Path, *, model: str, processes: int, precision: str
) -> None:
    """The multilayer perceptron has dropout, the residual network batch norms; shares of 17 rows are uneven on 3 ranks.

    What is exported is the average of the weights, norms' statistics included. The parts are read by other threads than the whole,
    and other steps of theirs are traced.
    """
    (tmp_path / "data").symlink_to(dataset_folder / "data")
    recipe = {
        "batchSize": 17,
        "microBatchSize": 4,
        "gradientClipNorm": 1.0,
        "precision": precision,
        "optimizer": {"name": "muon" if model == "resnet" else "adamw"},
        "paramGroups": [{"match": ".*weight", "learningRate": 0.0005}],
        "ema": {"decay": 0.8},
        "validation": {"every": {"epochs": 1}, "weights": "ema"},
    }
    run = make_run(version, model=model, steps=14, recipe=recipe)
    train_run(trace(3, 2, run), tmp_path, processes=processes, name="whole")

    how: dict[str, Any] = {"processes": processes, "name": "parts"}
    suspended = train_run(read_with(3, run), tmp_path, stop_at=5, stopped_rank=processes - 1, **how)
    stopped_after = len(read_losses(tmp_path / "parts"))
    resumed = train_run(trace(14, 5, read_with(1, run)), tmp_path, **how)

    assert (suspended.outcome, resumed.outcome) == (Outcome.SUSPENDED, Outcome.SUCCEEDED)
    assert 5 <= stopped_after < 14
    assert read_losses(tmp_path / "parts") == read_losses(tmp_path / "whole")
    assert read_validations(tmp_path / "parts") == read_validations(tmp_path / "whole")
    assert read_weights(tmp_path / "parts") == read_weights(tmp_path / "whole")
    assert list_named_ranges(tmp_path / "whole/traces/step-000000003.json.gz") == {"step 3", "step 4", *StepPart}
    assert list_named_ranges(tmp_path / "parts/traces/step-000000014.json.gz") == {"step 14", *StepPart}
    (said,) = read_log(tmp_path / "whole", "trace")
    assert said["message"].startswith("the timeline of steps 3 to 4 is in traces/step-000000003.json.gz; open it in ")


def list_named_ranges(path: Path) -> set[str]:
    """Return what the trainer named in a timeline, in which there are operations, too."""
    events = json.loads(gzip.decompress(path.read_bytes()))["traceEvents"]
    assert any(event.get("cat") == "cpu_op" and event["name"] == "aten::linear" for event in events)
    named = {event["name"] for event in events if event.get("cat") == "user_annotation"}
    return {name for name in named if name in set(StepPart) or name.startswith("step ")}


def test_a_run_ends_at_the_same_step_when_it_no_longer_improves_and_was_suspended_in_between(
    dataset_folder: Path, version: str, tmp_path: Path
) -> None:
    """With a rate of next to nothing, nothing improves after the first validation."""
    (tmp_path / "data").symlink_to(dataset_folder / "data")
    recipe = {
        "optimizer": {"name": "sgd", "learningRate": 1e-12},
        "validation": {"every": {"steps": 2}},
        "earlyStop": {"metric": "validation/accuracy", "patienceValidations": 3},
    }
    run = make_run(version, model="mlp", steps=40, recipe=recipe)
    whole = train_run(trace(20, 5, run), tmp_path, name="whole")

    train_run(run, tmp_path, name="parts", stop_at=5)
    resumed = train_run(run, tmp_path, name="parts")

    assert whole.outcome is resumed.outcome is Outcome.SUCCEEDED
    assert sorted(read_losses(tmp_path / "parts")) == list(range(1, 9))
    assert read_validations(tmp_path / "parts") == read_validations(tmp_path / "whole")
    assert (resumed.facts["steps"], resumed.facts["export"]) == (8, "export/model.safetensors")
    assert re.fullmatch(
        r"stopped early at step 8: validation/accuracy has not improved on the 0\.\d+ of step 2 in 3 validations",
        resumed.facts["notes"][0],
    )
    assert whole.facts["warnings"] == [
        "there is no timeline: recipe.trace.firstStep is 20, and the run ended after step 8"
    ]


def test_a_long_validation_is_broken_off_when_the_run_is_to_stop_and_done_when_it_resumes(tmp_path: Path) -> None:
    """150 samples, four at once: the ranks ask one another in between whether to stop."""
    version = write_small_dataset(tmp_path / "data", validation=150)
    run = make_run(version, model="mlp", steps=8, recipe={"batchSize": 17, "microBatchSize": 1})
    train_run(run, tmp_path, name="whole")

    suspended = train_run(run, tmp_path, name="parts", stop_in=PodPhase.VALIDATING)
    validated = read_validations(tmp_path / "parts")
    resumed = train_run(run, tmp_path, name="parts")

    assert (suspended.outcome, resumed.outcome, validated) == (Outcome.SUSPENDED, Outcome.SUCCEEDED, [])
    assert read_validations(tmp_path / "parts") == read_validations(tmp_path / "whole")
    assert read_losses(tmp_path / "parts") == read_losses(tmp_path / "whole")


def read_weights(run_dir: Path) -> dict[str, list[float]]:
    weights = load_file(run_dir / "export" / "model.safetensors")
    return {name: value.flatten().tolist() for name, value in weights.items()}


def test_the_update_is_the_same_when_the_number_of_processes_differs(
    dataset_folder: Path, version: str, tmp_path: Path
) -> None:
    """One step of plain SGD: the weights show the gradient. Uneven shares and micro-batches must not change it.

    Sharded, the ranks gather parameters for one another, as often as the one with most samples needs it.
    """
    (tmp_path / "data").symlink_to(dataset_folder / "data")
    plain = {"name": "sgd", "learningRate": 1.0, "momentum": 0.0, "weightDecay": 0.0, "l1Penalty": 0.01}
    recipe = {
        "batchSize": 7,
        "optimizer": plain,
        "schedule": {"name": "fixed", "warmupFraction": 0.0},
        "paramGroups": [{"match": ".*bias", "learningRate": 0.5}],
        "gradientClipNorm": 0.3,
    }

    for processes, rows, parallelism in ((1, 7, "ddp"), (2, 3, "ddp"), (3, 2, "ddp"), (3, 1, "fsdp")):
        run = make_run(version, steps=1, recipe={**recipe, "microBatchSize": rows, "parallelism": parallelism})
        train_run(run, tmp_path, processes=processes, name=f"{parallelism}-{processes}")

    names = ("ddp-1", "ddp-2", "ddp-3", "fsdp-3")
    one, *others = (load_file(tmp_path / name / "export" / "model.safetensors") for name in names)
    assert all(float((one[name] - other[name]).abs().max()) < 1e-6 for other in others for name in one)


def test_the_exported_model_is_as_accurate_as_the_best_validation_when_a_stranger_uses_it(
    dataset_folder: Path, version: str, tmp_path: Path
) -> None:
    (tmp_path / "data").symlink_to(dataset_folder / "data")
    recipe = {"validation": {"every": {"steps": 1}}, "optimizer": {"name": "sgd", "learningRate": 0.05}}

    train_run(make_run(version, steps=12, recipe=recipe), tmp_path)

    validations = read_log(tmp_path / "run", "validation")
    best = max(validations, key=lambda line: (line["validation/accuracy"], -line["validation/loss"]))
    description = json.loads((tmp_path / "run" / "export" / "model.json").read_text())
    accuracy = best["validation/accuracy"]
    assert evaluate_export(tmp_path / "run" / "export", tmp_path / "data") == pytest.approx(accuracy)
    exported = description["exported"]
    assert (exported["checkpoint"], exported["step"], exported["metric"]) == ("best", best["step"], accuracy)


def evaluate_export(export: Path, data: Path) -> float:
    """Use the exported model as a stranger would, by what `model.json` says, and return its validation accuracy."""
    description = json.loads((export / "model.json").read_text())
    form = SampleForm(shape=tuple(description["sampleShape"]))
    model = build_model(Model.from_wire(description["model"]), form, len(description["classes"]))
    model.load_state_dict(load_file(export / description["weights"]["file"]))
    split = open_dataset(data).split("validation")
    images, labels = split.gather(np.arange(len(split)))
    preprocessing = description["preprocessing"]
    inputs = (images - np.float32(preprocessing["subtract"])) / np.float32(preprocessing["divide"])
    with torch.no_grad():
        outputs = model.eval()(torch.from_numpy(inputs).permute(0, 3, 1, 2))
    return float((outputs.argmax(dim=1).numpy() == labels).mean())


def test_the_last_model_is_exported_when_there_is_nothing_to_validate(tmp_path: Path) -> None:
    version = write_small_dataset(tmp_path / "data", validation=0)

    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "traces").write_text("in the way of a timeline, which no run needs")
    story = train_run(trace(2, 1, make_run(version, steps=3)), tmp_path)

    description = json.loads((tmp_path / "run" / "export" / "model.json").read_text())
    assert description["exported"]["checkpoint"] == "last"
    assert "no validation samples" in story.facts["warnings"][0]
    assert story.facts["warnings"][1].startswith("there is no timeline of step 2: [Errno 17] File exists")


def test_nothing_is_trained_again_when_a_finished_run_is_started_again(
    dataset_folder: Path, version: str, tmp_path: Path
) -> None:
    """Its model is made by code of the user's own, which was edited in between: that is told."""
    (tmp_path / "data").symlink_to(dataset_folder / "data")
    run = make_run(version, model={"python": {"module": "nets", "factory": "build"}}, steps=6)
    code = tmp_path / "code"
    code.mkdir()
    (code / "nets.py").write_text(NETS)
    train_run(run, tmp_path, code=code)
    before = read_losses(tmp_path / "run")
    (code / "nets.py").write_text(f"# edited\n{NETS}")

    story = train_run(run, tmp_path, code=code)

    assert story.outcome is Outcome.SUCCEEDED
    assert "since the checkpoint of step 6: nets.py is not what it was" in story.facts["warnings"][0]
    assert [line["message"] for line in read_log(tmp_path / "run", "warning")] == story.facts["warnings"]
    assert PodPhase.TRAINING not in story.phases
    assert read_losses(tmp_path / "run") == before
    assert len(read_log(tmp_path / "run", "validation")) == 1


def test_every_validation_sample_is_counted_once_when_ranks_have_uneven_shares(
    dataset_folder: Path, version: str, tmp_path: Path
) -> None:
    """30 samples on 4 ranks: the accuracy is a multiple of 1/30, and the same as on one rank."""
    (tmp_path / "data").symlink_to(dataset_folder / "data")
    run = make_run(version, steps=2, recipe={"batchSize": 8})

    accuracies = [
        train_run(run, tmp_path, processes=processes, name=f"on-{processes}").facts["metrics"]["validation/accuracy"]
        for processes in (1, 4)
    ]

    assert accuracies[0] == accuracies[1]
    assert round(accuracies[0] * COUNTS["validation"], 9) == round(accuracies[0] * COUNTS["validation"])


@pytest.mark.parametrize(
    ("changes", "finding"),
    [
        ({"datasetVersion": "0123456789abcdef"}, "DataMissingError: .*must have the version '0123456789abcdef'"),
        ({"sampleShape": [8, 8, 1]}, "DataMissingError: .*sample shape"),
        ({"recipe": {"paramGroups": [{"match": "haed.*"}]}}, "ConfigError: .*must match a parameter of the model"),
        ({"gpu": True}, "ConfigError: .*finds 0 GPUs"),
    ],
    ids=["another version", "another shape", "idle group", "no GPU"],
)
def test_a_run_that_this_trainer_cannot_do_is_refused(
    dataset_folder: Path, version: str, tmp_path: Path, changes: dict[str, Any], finding: str
) -> None:
    (tmp_path / "data").symlink_to(dataset_folder / "data")

    with pytest.raises(RankFailedError, match=finding):
        train_run(make_run(version, **changes), tmp_path)


def test_a_mean_image_travels_with_the_model_that_needs_it(dataset_folder: Path, version: str, tmp_path: Path) -> None:
    (tmp_path / "data").symlink_to(dataset_folder / "data")

    train_run(make_run(version, steps=2, recipe={"meanSubtraction": "image"}), tmp_path)

    export = tmp_path / "run" / "export"
    description = json.loads((export / "model.json").read_text())
    assert np.load(export / description["preprocessing"]["subtract"]).shape == tuple(description["sampleShape"])
    assert hashlib.sha256((export / "model.safetensors").read_bytes()).hexdigest() == description["weights"]["sha256"]
    assert description["classes"] == CLASSES
