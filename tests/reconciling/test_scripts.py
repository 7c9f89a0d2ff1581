"""Jobs that run a program of the user's: accepted without a Dataset, and told of as far as anything is known."""

from dataclasses import replace
from typing import Any

import pytest
from reconciling.job_states import (
    NOW,
    SETTINGS,
    accept,
    end_pod,
    make_record,
    make_report,
    observe,
    plan,
    progress_of,
    status_after,
    status_of,
    train,
)

from oarlock_api.run import Run, build_worker_run
from oarlock_api.v1alpha1.status import JobPhase, TrainingJobStatus
from oarlock_operator.policy.times import format_time
from oarlock_operator.reconcile.training_job import plan_job

SCRIPT = {"script": {"command": ["train.py"]}, "workers": {"nodes": 1}}
UNSAID: dict[str, Any] = {"steps": 0, "step": 0, "epoch": 0.0, "epochs": 0.0, "eta_seconds": None, "metrics": {}}


def follow(**report: Any) -> TrainingJobStatus:
    job = train(spec=SCRIPT, dataset=None)
    values = {**UNSAID, "checkpoint_latest": None, **report}
    return status_after(replace(job, report=make_report(**values)))


def test_job_without_data_starts_at_once() -> None:
    job = accept(spec=SCRIPT, dataset=None)
    run = job.status.run or {}

    assert (len(job.pods), run["steps"], "dataset" in run, "model" in run) == (1, 0, False, False)


def test_best_checkpoint_is_kept_by_a_metric_that_a_script_names_alone() -> None:
    """A run that was accepted before says nothing of it, and goes on as it was."""
    named = {**SCRIPT, "checkpoints": {"keepBest": {"metric": "validation/loss"}}}
    unnamed, chosen = (accept(spec=spec, dataset=None).status.run or {} for spec in (SCRIPT, named))
    before = {**unnamed, "checkpoints": {k: v for k, v in unnamed["checkpoints"].items() if k != "ranked"}}

    assert [build_worker_run(Run.from_wire(run)).to_wire().get("ranked") for run in (unnamed, chosen, before)] == [
        False,
        None,
        None,
    ]
    assert chosen["checkpoints"]["keepBest"] == {"metric": "validation/loss"}


def test_program_that_says_nothing_has_a_level_and_signs_of_life_but_no_percent() -> None:
    activity = {"cpuSeconds": 7.0, "cpuCores": 1.26, "lastOutput": NOW - 5}
    status = follow(phase="Training", level="L0", activity=activity)

    assert (status.phase, progress_of(status).percent, progress_of(status).eta_seconds) == (
        JobPhase.TRAINING,
        None,
        None,
    )
    assert status.script is not None
    assert status.script.to_wire() == {"level": "L0", "cpuCores": 1.3, "lastOutput": format_time(NOW - 5)}


def test_figures_of_a_program_keep_their_own_names_within_bounds() -> None:
    own = {f"m{number}": 1.0 for number in range(60)}
    status = follow(level="L1", steps=10, step=5, metrics={"train/loss": 0.5, "a b": 1.0, "generator/loss": 2.0, **own})
    shown = progress_of(status)

    assert (shown.percent, shown.metrics["train/loss"], shown.metrics["generator/loss"]) == (50, 0.5, 2.0)
    assert "a b" not in shown.metrics
    assert len(shown.metrics) < 40


@pytest.mark.parametrize(("step", "said"), [(0, "the program has ended well"), (9, "trained 9 steps")])
def test_end_says_what_is_known(step: int, said: str) -> None:
    job = train(spec=SCRIPT, dataset=None)
    record = make_record(
        steps=0, step=step, level="L0", export="", metrics={}, checkpoint_latest=None, checkpoint_best=None
    )
    job = replace(job, status=job.status.model_copy(update={"progress": None}), report=None)
    status = status_of(plan(replace(job, pods=(end_pod(job.pods[0], record=record),))))

    assert (status.phase, status.message.startswith(said)) == (JobPhase.SUCCEEDED, True)
    assert status.script is not None
    assert status.script.to_wire() == {"level": "L0"}


@pytest.mark.parametrize(
    ("spec", "path"),
    [
        ({**SCRIPT, "script": {"command": ["a"], "image": "evil.example/x"}}, "spec.script.image"),
        ({**SCRIPT, "code": {"configMap": "c"}}, "spec.code.configMap"),
    ],
)
def test_image_and_code_need_the_administrators_leave(spec: dict[str, Any], path: str) -> None:
    settings = replace(SETTINGS, allowed_images="registry.example/*", allowed_volume_kinds="claim")
    status = status_of(plan_job(observe(spec=spec, dataset=None), now=NOW, settings=settings))

    assert status.phase is JobPhase.INVALID
    assert path in status.message
