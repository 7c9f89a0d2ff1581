"""Which model comes out of a run that is disturbed: the best one, even if it was found just when the run was stopped."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from training.small_runs import (
    CLASSES,
    make_run,
    read_log,
    read_losses,
    read_validations,
    train_run,
)

from oarlock_api.contract import Outcome
from oarlock_api.run import WorkerRun
from oarlock_trainer.best_weights import read_weights
from oarlock_trainer.models import SampleForm, build_model

LOSS, ACCURACY = "validation/loss", "validation/accuracy"
RECIPE = {"validation": {"every": {"steps": 1}}, "optimizer": {"name": "sgd", "learningRate": 0.05}}
"""The loss falls to the end."""
RESTLESS = {"optimizer": {"name": "sgd", "learningRate": 1.0}}
"""The accuracy is best after two steps, and the same after three with a greater loss; from then on the run diverges."""


@pytest.fixture
def folder(dataset_folder: Path, tmp_path: Path) -> Path:
    """Where the runs go, with the data set."""
    (tmp_path / "data").symlink_to(dataset_folder / "data")
    return tmp_path


def make_small_run(version: str, *, metric: str, recipe: Mapping[str, Any] | None = None, **changes: Any) -> WorkerRun:
    full_recipe = {**RECIPE, **(recipe or {})}
    return make_run(
        version, model="mlp", **{"steps": 12, "recipe": full_recipe, "keepBest": {"metric": metric}, **changes}
    )


def describe_export(run_dir: Path) -> dict[str, Any]:
    description: dict[str, Any] = json.loads((run_dir / "export" / "model.json").read_text())
    return {**description["exported"], "sha256": description["weights"]["sha256"]}


def describe_checkpoint(facts: Any) -> tuple[int, float | None]:
    return facts["step"], facts.get("metric")


def rank_steps(run_dir: Path, metric: str) -> list[int]:
    """Return the validated steps, best first; of equals that with the least loss."""
    lines = sorted(read_log(run_dir, "validation"), key=lambda line: line.get(LOSS, math.inf))
    return [line["step"] for line in (lines if metric == LOSS else sorted(lines, key=lambda line: -line[ACCURACY]))]


def flip_byte(checkpoint: Path, name: str = "__0_0.distcp") -> Path:
    """Damage the weights, or another file, and return it."""
    file = checkpoint / name
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0x10
    file.write_bytes(content)
    return file


@pytest.mark.parametrize("metric", [LOSS, ACCURACY], ids=["the last step is best", "an earlier step is best"])
@pytest.mark.parametrize("processes", [1, 2])
def test_the_best_model_is_that_of_the_undisturbed_run_when_it_was_stopped_before_its_validation(
    folder: Path, version: str, metric: str, processes: int
) -> None:
    run = make_small_run(version, metric=metric, recipe=RESTLESS if metric == ACCURACY else None)
    whole = train_run(run, folder, processes=processes, name="whole")
    best = rank_steps(folder / "whole", metric)[0]

    suspended = train_run(run, folder, processes=processes, name="parts", stop_at=best)
    stopped_after = max(read_losses(folder / "parts"))
    resumed = train_run(run, folder, processes=processes, name="parts")

    assert (suspended.outcome, resumed.outcome, stopped_after) == (Outcome.SUSPENDED, Outcome.SUCCEEDED, best)
    assert describe_export(folder / "parts") == describe_export(folder / "whole")
    assert best == describe_export(folder / "whole")["step"]
    assert (best == 12) == (metric == LOSS)
    for name in ("checkpoint_best", "checkpoint_latest"):
        assert describe_checkpoint(resumed.facts[name]) == describe_checkpoint(whole.facts[name])


def test_a_validation_is_logged_once_when_it_was_not_yet_part_of_a_checkpoint(folder: Path, version: str) -> None:
    """Stopped at the last step, validated after the resume, and killed before that reached the volume."""
    run = make_small_run(version, metric=LOSS)
    train_run(run, folder, name="whole")
    train_run(run, folder, name="parts", stop_at=12)
    validated = read_log(folder / "whole", "validation")[-1]
    with (folder / "parts" / "log.jsonl").open("a") as log:
        log.write(json.dumps(validated) + "\n")

    train_run(run, folder, name="parts")

    assert read_validations(folder / "parts") == read_validations(folder / "whole")


def test_the_next_best_model_is_exported_with_a_warning_when_the_best_checkpoint_is_damaged(
    folder: Path, version: str
) -> None:
    run = make_small_run(version, metric=ACCURACY, recipe=RESTLESS, keep=12, checkpointEvery={"steps": 1})
    train_run(run, folder, stop_at=10)
    best, _equal, next_best = rank_steps(folder / "run", ACCURACY)[:3]
    damaged = flip_byte(folder / f"run/checkpoints/step-{best:09d}")

    story = train_run(run, folder)

    exported, (warning,) = describe_export(folder / "run"), story.facts["warnings"]
    assert (exported["checkpoint"], exported["step"]) == ("next best", next_best)
    assert f"the checkpoint of step {best} " in warning
    assert f"{damaged}: expected SHA-256" in warning
    assert [line["message"] for line in read_log(folder / "run", "warning")] == [warning]
    assert story.facts["checkpoint_best"]["step"] == next_best
    assert_exported_is(folder, run, step=next_best)


def assert_exported_is(folder: Path, run: WorkerRun, *, step: int) -> None:
    """Compare the exported weights with those of a checkpoint."""
    model = build_model(run.model, SampleForm(shape=(16, 16, 1)), len(CLASSES))
    read_weights(folder / f"run/checkpoints/step-{step:09d}", model)
    exported = load_file(folder / "run/export/model.safetensors")
    assert exported.keys() == model.state_dict().keys()
    assert all(value.equal(exported[name]) for name, value in model.state_dict().items())


def test_the_last_model_is_exported_with_a_warning_when_no_other_is_left(folder: Path, version: str) -> None:
    """Step 4 is the best and damaged; step 12 is the last."""
    recipe = {"validation": {"every": {"steps": 4}}, "optimizer": {"name": "sgd", "learningRate": 0.8}}
    run = make_small_run(version, metric=ACCURACY, recipe=recipe, checkpointEvery={"steps": 50})
    train_run(run, folder, stop_at=10)
    flip_byte(folder / "run/checkpoints/step-000000004")

    story = train_run(run, folder)

    exported, (warning,) = describe_export(folder / "run"), story.facts["warnings"]
    assert (exported["checkpoint"], exported["step"]) == ("next best", 12)
    assert "the next best model (step 12) is exported instead" in warning
    assert_exported_is(folder, run, step=12)


def test_a_warning_says_so_when_the_best_model_is_lost_without_a_trace(folder: Path, version: str) -> None:
    """Without its manifest nobody can say any more that step 1 was the best, but the counters know how good the best was."""
    too_fast = {
        "optimizer": {"name": "adamw", "learningRate": 0.02},
        "schedule": {"name": "fixed", "warmupFraction": 0},
    }
    run = make_small_run(version, metric=LOSS, steps=2, recipe=too_fast)
    train_run(run, folder, stop_at=2)
    (best,) = read_log(folder / "run", "validation")
    flip_byte(folder / "run/checkpoints/step-000000001", "oarlock.json")

    story = train_run(run, folder)

    (warning,) = story.facts["warnings"]
    assert f"no checkpoint on the volume has the best {LOSS} of this run, {best[LOSS]}" in warning
    assert (describe_export(folder / "run")["checkpoint"], describe_export(folder / "run")["step"]) == ("next best", 2)


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("stop_at", [None, 3], ids=["at the end", "on a stop"])
def test_the_last_state_is_saved_again_when_saving_it_failed(
    folder: Path, version: str, processes: int, stop_at: int | None
) -> None:
    """A file stands where the folder of the checkpoints should be, until the first save has failed."""
    run = make_small_run(
        version, metric=LOSS, steps=4, recipe={"validation": {"every": {"steps": 50}}}, checkpointEvery={"steps": 50}
    )
    (folder / "run").mkdir()
    in_the_way = folder / "run/checkpoints"
    in_the_way.touch()

    story = train_run(run, folder, processes=processes, stop_at=stop_at, in_the_way=in_the_way)

    last = max(read_losses(folder / "run"))
    assert story.outcome is (Outcome.SUSPENDED if stop_at else Outcome.SUCCEEDED)
    assert story.facts["checkpoint_latest"]["step"] == last
    assert [path.name for path in in_the_way.iterdir()] == [f"step-{last:09d}"]
    assert [f"the checkpoint of step {last} was not saved" in text for text in story.facts["warnings"]] == [True]


def test_no_checkpoint_is_the_best_and_nothing_is_said_of_the_model_when_it_returns_no_numbers(
    folder: Path, version: str
) -> None:
    own = {"python": {"module": "training.speechless_models", "factory": "Speechless"}}
    run = make_run(version, model=own, steps=4, recipe=RECIPE, keepBest={"metric": ACCURACY})

    story = train_run(run, folder)

    (warning,) = story.facts["warnings"]
    assert "for 30 of 30 validation samples what the model returns is not a number" in warning
    assert describe_export(folder / "run")["checkpoint"] == "last"
    assert {line[ACCURACY] for line in read_log(folder / "run", "validation")} == {0.0}
    assert not (folder / "run/examination.json").exists()
