"""What is made when a run has ended, beside the model: the examination of it and the report.

Nothing of it may fail a run that has trained: whatever goes wrong is a warning, with the reason.
"""

import time
from collections.abc import Callable
from functools import partial

import torch
from safetensors.torch import load_file
from torch import nn

from oarlock_api.contract import PodPhase
from oarlock_api.v1alpha1.training_job import ExportFormat
from oarlock_trainer.config import TrainerConfig
from oarlock_trainer.examination import examine, write_findings
from oarlock_trainer.export import EXPORT_DIR, WEIGHTS_NAME
from oarlock_trainer.export_formats import write_format
from oarlock_trainer.models import build_model
from oarlock_trainer.preparation import Preparation
from oarlock_trainer.reports import REPORT_NAME
from oarlock_trainer.reports.writing import write_report
from oarlock_trainer.servable import Servable
from oarlock_trainer.signs_of_life import beating


def look_back(p: Preparation, config: TrainerConfig, step: int, *, device: torch.device) -> None:
    """Write the exported model in other forms, examine it and write the report, on rank 0 alone."""
    beat = partial(p.steering.record.beat, PodPhase.EXPORTING)
    for form in config.run.export_formats or ():
        write = partial(_write_format, p, config, form, step)
        beat()
        with beating(beat):  # torch and the libraries behind it say nothing until they are done
            _attempt(p, step, f"the model was not exported as {form.value}", write)
    beat()
    if len(p.data.validation):
        _attempt(p, step, "the model was exported but not examined", partial(_examine, p, config, device))
    beat()
    target = config.run_dir / REPORT_NAME
    _attempt(p, step, "the report was not written", partial(write_report, config.run_dir, target, now=time.time()))


def _write_format(p: Preparation, config: TrainerConfig, form: ExportFormat, step: int) -> None:
    cpu = torch.device("cpu")
    model = _load_exported(p, config, cpu)
    servable = Servable(model, task=p.task, run=config.run, dataset=p.data.dataset)
    path = write_format(form, servable, config.run_dir / EXPORT_DIR)
    p.steering.reporter.say("exportFormat", step, f"the model is exported as {form.value} to {path}", format=form.value)


def _examine(p: Preparation, config: TrainerConfig, device: torch.device) -> None:
    findings = examine(
        _load_exported(p, config, device),
        p.data.validation,
        task=p.task,
        dataset=p.data.dataset,
        precision=p.learner.precision,
        device=device,
        rows=p.data.rows,
        on_beat=partial(p.steering.record.beat, PodPhase.EXPORTING),
    )
    write_findings(findings, config.run_dir)


def _load_exported(p: Preparation, config: TrainerConfig, device: torch.device) -> nn.Module:
    """Return the model as others will use it, whole on this process, however it was spread in training."""
    model = build_model(config.run.model, p.task.form, p.task.outputs)
    model.load_state_dict(load_file(config.run_dir / EXPORT_DIR / WEIGHTS_NAME))
    return model.to(device)


def _attempt(p: Preparation, step: int, consequence: str, act: Callable[[], None]) -> None:
    try:
        act()
    except Exception as error:  # noqa: BLE001  # whatever it is, the run has trained
        p.steering.reporter.warn(step, f"{consequence}: {type(error).__name__}: {error}")
