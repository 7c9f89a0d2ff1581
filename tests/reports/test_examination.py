"""The look at a trained model, for every task; and the report that is read from a run's folder."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from training.made_datasets import make_task_run, write_task_dataset
from training.test_tasks import CASES

from oarlock_trainer import examination
from oarlock_trainer.batches import StreamedSamples
from oarlock_trainer.examination import examine, write_findings
from oarlock_trainer.models import build_model
from oarlock_trainer.reports.page import build_page
from oarlock_trainer.reports.reading import read_facts
from oarlock_trainer.run_description import write_description
from oarlock_trainer.tasks import build_task

CPU = torch.device("cpu")
MODELS = {
    "classes": "lenet",
    "verification": "siamese",
    "overlap": "unet-small",
    "boxes": "centernet-small",
    "images": "autoencoder",
    "texts": "textcnn",
}


@pytest.mark.parametrize("name", MODELS)
def test_any_task_is_examined_and_reported(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examination, "MOST_SAMPLES", 10)
    kind, recipe = CASES[name]
    recipe = {key: value for key, value in recipe.items() if key != "augment"}
    dataset = write_task_dataset(tmp_path / "data", kind)
    run = make_task_run(dataset, model=MODELS[name], recipe=recipe)
    task = build_task(run, dataset, device=CPU)
    torch.manual_seed(0)
    model = build_model(run.model, task.form, task.outputs)
    samples = StreamedSamples(dataset.split("validation"), CPU)

    found = examine(
        model, samples, task=task, dataset=dataset, precision=torch.float32, device=CPU, rows=4, on_beat=lambda: None
    )
    write_findings(found, tmp_path)
    write_description(tmp_path, run, dataset)
    facts = read_facts(tmp_path, now=1.0)

    assert (found.samples, found.of, len(found.worst)) == (10, 12, 10)
    assert facts.findings is not None
    assert json.dumps(asdict(facts.findings)) == json.dumps(asdict(found))
    losses = [sample.loss for sample in found.worst]
    assert losses == sorted(losses, reverse=True)
    assert model.training
    assert 'id="worst"' in build_page(facts)


def test_the_matrix_counts_every_sample_once_whatever_the_batches(tmp_path: Path) -> None:
    kind, recipe = CASES["classes"]
    dataset = write_task_dataset(tmp_path / "data", kind)
    run = make_task_run(dataset, model="lenet", recipe=recipe)
    task = build_task(run, dataset, device=CPU)
    model = build_model(run.model, task.form, task.outputs)
    samples = StreamedSamples(dataset.split("validation"), CPU)

    tables = [
        examine(model, samples, task=task, dataset=dataset, precision=torch.float32, device=CPU, rows=rows, on_beat=int)
        for rows in (1, 5, 100)
    ]

    assert np.sum(tables[0].confusion or []) == 12
    assert tables[0].confusion == tables[1].confusion == tables[2].confusion
    assert [sum(row) for row in tables[0].confusion or []] == [4, 4, 4]


def test_a_log_is_read_into_charts_attempts_and_checkpoints_when_a_run_was_resumed(tmp_path: Path) -> None:
    def line(kind: str, step: int, **facts: object) -> str:
        return json.dumps({"kind": kind, "step": step, **facts}, separators=(",", ":")) + "\n"

    saved = {"step": 4, "epoch": 1.0, "bytes": 10, "time": 106.0, "metric": 0.9}
    text = [
        line(
            "start", 0, time=102.0, startSeconds=2.0, attempt=0, processes=2, device="cpu", message="from the beginning"
        ),
        *(line("step", step, epoch=step / 4, **{"train/loss": 1 / step}) for step in (1, 2, 3, 4)),
        line("pace", 4, epoch=1.0, time=105.0, stepSeconds=0.5, dataWaitSeconds=0.1, samplesPerSecond=8.0),
        line("validation", 4, epoch=1.0, time=105.5, seconds=0.5, **{"validation/accuracy": 0.9}),
        line("checkpoint", 4, time=106.5, checkpoint=saved, checkpointStallSeconds=0.1, message="safe"),
        line("start", 4, time=122.0, startSeconds=2.0, attempt=1, processes=2, device="cpu", message="from step 4"),
        line("warning", 4, time=122.5, message="careful"),
        '{"kind":"step","step":5,"tor',
    ]
    (tmp_path / "log.jsonl").write_text("".join(text))
    (tmp_path / "run.json").write_text(
        '{"job": "digits", "run": {"keepBest": {"metric": "validation/accuracy"}, "steps": 8}}'
    )
    facts = read_facts(tmp_path, now=1.0)

    assert (facts.title, facts.state) == ("digits", "running")
    assert [(a.began, a.ended) for a in facts.attempts] == [(100.0, 106.5), (120.0, 122.5)]
    assert {share.name: round(share.seconds, 6) for share in facts.shares} == {
        "computing": 1.6, "waiting for data": 0.4, "validation": 0.5, "checkpoints": 0.1, "starting": 4.0,
    }  # fmt: skip
    assert [(row.step, row.is_best) for row in facts.checkpoints] == [(4, True)]
    assert [chart.title for chart in facts.charts] == ["Loss", "Accuracy"]
    assert facts.warnings == ((4, "careful"),)
