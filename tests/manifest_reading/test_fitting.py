"""Jobs that no data of their Dataset's task can fit are refused before anything is imported, by file and line."""

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from oarlock.cli.app import app
from oarlock.manifests.overrides import parse_override
from oarlock.manifests.problems import ManifestsError
from oarlock.manifests.reading import read_manifests
from oarlock.running.outcomes import EXIT_INVALID, EXIT_SUCCESS

LAYOUTS = {
    "imageClassification": "folders: {}",
    "segmentation": "pairs: {images: images, masks: masks}",
    "textClassification": "folders: {}",
}


def dataset(task: str, *, namespace: str = "default") -> str:
    return f"""\
apiVersion: oarlock.dev/v1alpha1
kind: Dataset
metadata: {{name: data, namespace: {namespace}}}
spec: {{task: {task}, source: {{volume: {{claim: raw}}}}, layout: {{{LAYOUTS[task]}}}}}
---
"""


def job(*lines: str) -> str:
    """Return a job whose further fields begin on line 11, after a Dataset."""
    head = (
        "apiVersion: oarlock.dev/v1alpha1\nkind: TrainingJob\nmetadata: {name: job}\nspec:\n  dataset: {name: data}\n"
    )
    return head + "".join(f"  {line}\n" for line in lines)


def stored(kind: str, name: str, spec: dict[str, Any], **status: Any) -> dict[str, Any]:
    return {"kind": kind, "metadata": {"name": name, "namespace": "default"}, "spec": spec, "status": status}


def write(folder: Path, text: str) -> Path:
    file = folder / "all.yaml"
    file.write_text(text)
    return file


@pytest.mark.parametrize(
    ("task", "lines", "line", "says"),
    [
        (
            "segmentation",
            ["model: {name: unet}", "recipe:", "  augment:", "    mixup: 0.4"],
            14,
            "augment.mixup must be left",
        ),
        (
            "segmentation",
            ["model:", "  name: lenet"],
            12,
            "model.name must be a model for segmentation, which Dataset data",
        ),
        (
            "imageClassification",
            ["model: {name: lenet}", "checkpoints:", "  keepBest: {metric: validation/map50}"],
            13,
            "keepBest.metric must be what validations of imageClassification measure, got validation/map50: use validation/acc",
        ),
        (
            "imageClassification",
            ["model: {name: lenet}", "recipe: {loss: {name: dice}}"],
            12,
            "recipe.loss.name must be a loss",
        ),
        (
            "imageClassification",
            ["model: {timm: {name: x}}", "recipe:", "  earlyStop: {metric: validation/dice}"],
            13,
            "recipe.earlyStop.metric must be",
        ),
        (
            "textClassification",
            ["model: {name: lstm}", "recipe: {meanSubtraction: image}"],
            12,
            "meanSubtraction must be left",
        ),
    ],
)
def test_a_job_is_refused_by_line_when_the_task_of_its_dataset_rules_it_out(
    tmp_path: Path, task: str, lines: list[str], line: int, says: str
) -> None:
    file = write(tmp_path, dataset(task) + job(*lines))

    with pytest.raises(ManifestsError) as caught:
        read_manifests([file])

    (problem,) = caught.value.problems
    assert problem.place == f"{file}:{line}"
    assert says in str(problem)
    assert problem.finding.remedy


def test_a_field_of_the_command_line_is_held_against_the_task_too(tmp_path: Path) -> None:
    file = write(tmp_path, dataset("segmentation") + job("model: {name: unet}"))

    with pytest.raises(ManifestsError, match=r"--set spec\.recipe\.augment\.mixup=1: .*must be left out"):
        read_manifests([file], overrides=[parse_override("spec.recipe.augment.mixup=1")])


@pytest.mark.parametrize(
    "text",
    [
        dataset("segmentation") + job("model: {name: unet}", "recipe: {augment: {crop: 999}}"),
        dataset("segmentation", namespace="other") + job("model: {name: lenet}"),
        dataset("segmentation") + job("script: {command: [train.py]}"),
        job("model: {name: lenet}", "checkpoints: {keepBest: {metric: validation/map50}}"),
        dataset("imageClassification")
        + job("model: {name: lenet}", "checkpoints: {keepBest: {metric: validation/topFiveAccuracy}}"),
    ],
    ids=["question of sizes", "another namespace", "script", "unknown dataset", "question of classes"],
)
def test_a_job_is_left_to_the_import_when_its_task_does_not_decide(tmp_path: Path, text: str) -> None:
    assert read_manifests([write(tmp_path, text)])


def test_what_is_there_already_is_known_and_accepted_jobs_are_not_asked_again(tmp_path: Path) -> None:
    file = write(tmp_path, job("model: {name: unet}"))
    data = stored("Dataset", "data", {"layout": {"folders": {}}}, version="ab")
    waiting, accepted = stored("TrainingJob", "job", {}), stored("TrainingJob", "job", {}, run={"hash": "x"})

    for known in ([data], [data, waiting]):
        with pytest.raises(ManifestsError, match="must be a model for imageClassification"):
            read_manifests([file], known=known)
    assert read_manifests([file], known=[data, accepted])
    assert read_manifests([file], known=[data | {"spec": {"task": "segmentation"}}])
    assert read_manifests([file], known=[data | {"spec": {"task": "of a later version"}}])


def test_validate_says_it_and_ends_as_for_every_wrong_manifest(tmp_path: Path) -> None:
    wrong = dataset("segmentation") + job("model: {name: lenet}")

    refused = CliRunner().invoke(app, ["validate", str(write(tmp_path, wrong))])
    assert refused.exit_code == EXIT_INVALID
    assert "must be a model for segmentation" in " ".join(refused.output.split())
    taken = CliRunner().invoke(app, ["validate", str(write(tmp_path, wrong.replace("lenet", "unet")))])
    assert taken.exit_code == EXIT_SUCCESS
