"""A look at what a trained model gets right and wrong, for the report: a bounded pass over the validation split.

On rank 0 alone, with the weights that are exported. It finds the confusion matrix, the table of classes, ROC curves and the worst
samples, and writes them to `examination.json`. What it must not do: change anything that was learned, or take long.
"""

import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from oarlock_api.v1alpha1.dataset import Task as TaskName
from oarlock_trainer.batches import Samples, read_validation
from oarlock_trainer.datasets import StoredDataset
from oarlock_trainer.devices import compute_in
from oarlock_trainer.errors import NonFiniteError
from oarlock_trainer.reports import EXAMINATION_NAME
from oarlock_trainer.reports.facts import Chart, Findings, WorstSample
from oarlock_trainer.reports.rates import build_rate_charts, compute_rates
from oarlock_trainer.tasks import Batch, Task
from oarlock_trainer.tasks.task import main_output
from oarlock_trainer.worst_samples import SampleView, show_sample

MOST_SAMPLES = 5000
"""Samples of a larger split that are looked at, evenly spread."""
MOST_SECONDS = 60.0
_WORST = 18
_CLASSIFIES = frozenset({TaskName.IMAGE_CLASSIFICATION, TaskName.TEXT_CLASSIFICATION})


@dataclass(slots=True)
class _Seen:
    """What was found batch by batch."""

    tallies: NDArray[np.float64]
    ids: list[NDArray[np.int64]] = field(default_factory=list)
    losses: list[Tensor] = field(default_factory=list)
    scores: list[Tensor] = field(default_factory=list)
    targets: list[Tensor] = field(default_factory=list)


def examine(
    model: nn.Module,
    samples: Samples,
    *,
    task: Task,
    dataset: StoredDataset,
    precision: torch.dtype,
    device: torch.device,
    rows: int,
    on_beat: Callable[[], None],
) -> Findings:
    """Return what the model gets right and wrong, `rows` samples at a time. There must be samples.

    Raises:
        NonFiniteError: if it returns for some of them what is not a number.
    """
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            predict = _Predictor(model, task=task, precision=precision, device=device)
            seen = _look(predict, samples, task=task, dataset=dataset, rows=rows, on_beat=on_beat)
            _refuse_what_is_no_number(seen)
            worst = _show_worst(predict, samples, seen, task=task, dataset=dataset)
    finally:
        model.train(was_training)
    return _conclude(seen, worst, of=len(samples), task=task, dataset=dataset)


def write_findings(findings: Findings, run_dir: Path) -> None:
    """Write them for the report, complete or not at all.

    Raises:
        OSError: if the volume refuses.
    """
    path = run_dir / EXAMINATION_NAME
    unfinished = path.with_name(path.name + ".partial")
    unfinished.write_text(json.dumps(asdict(findings), separators=(",", ":"), allow_nan=False), encoding="utf-8")
    unfinished.replace(path)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Outcome:
    batch: Batch
    targets: Tensor
    outputs: Tensor


class _Predictor:
    def __init__(self, model: nn.Module, *, task: Task, precision: torch.dtype, device: torch.device) -> None:
        self._model, self._task, self._precision, self._device = model, task, precision, device

    def __call__(self, samples: Samples, ids: NDArray[np.int64]) -> _Outcome:
        batch = read_validation(samples, ids, task=self._task)
        prepared = self._task.prepare(batch)
        with compute_in(self._precision, self._device):
            outputs = main_output(self._model(prepared.inputs))
        return _Outcome(batch=batch, targets=prepared.targets, outputs=outputs)


def _choose_ids(count: int, rows: int) -> Iterator[NDArray[np.int64]]:
    """Yield ids evenly spread over a split, mixed, so that those seen before the time is up are spread evenly, too."""
    chosen = np.unique(np.linspace(0, count - 1, min(count, MOST_SAMPLES)).round().astype(np.int64))
    mixed = np.random.default_rng(0).permutation(chosen)
    for start in range(0, len(mixed), rows):
        yield mixed[start : start + rows]


def _look(
    predict: _Predictor, samples: Samples, *, task: Task, dataset: StoredDataset, rows: int, on_beat: Callable[[], None]
) -> _Seen:
    began, seen = time.monotonic(), _Seen(np.zeros(task.tallies))
    classifies = _classifies(task, dataset)
    for ids in _choose_ids(len(samples), rows):
        outcome = predict(samples, ids)
        seen.tallies += task.tally(outcome.outputs, outcome.targets).cpu().numpy()
        seen.ids.append(ids)
        seen.losses.append(task.sample_losses(outcome.outputs, outcome.targets).float().cpu())
        if classifies:
            seen.scores.append(task.predict(outcome.outputs).half().cpu())
            seen.targets.append(outcome.targets.cpu())
        on_beat()
        if time.monotonic() - began > MOST_SECONDS:
            break
    return seen


def _refuse_what_is_no_number(seen: _Seen) -> None:
    """Nothing can be said of a model that says nothing: a class is read out of whatever it returns."""
    losses = torch.cat(seen.losses)
    broken = int(losses.isnan().sum())
    if broken:
        raise NonFiniteError(
            f"for {broken:,} of {len(losses):,} validation samples what the model returns is not a number",
            remedy="see what it does when it is not training: a batch norm of broken statistics, or code of your own",
        )


def _classifies(task: Task, dataset: StoredDataset) -> bool:
    """Say whether predictions are one probability for each class of each sample."""
    return dataset.manifest.task in _CLASSIFIES and task.outputs == len(dataset.manifest.classes)


def _show_worst(
    predict: _Predictor, samples: Samples, seen: _Seen, *, task: Task, dataset: StoredDataset
) -> tuple[WorstSample, ...]:
    ids, losses = np.concatenate(seen.ids), torch.cat(seen.losses).nan_to_num(nan=math.inf).numpy()
    order = np.argsort(-losses, kind="stable")[:_WORST]
    outcome = predict(samples, ids[order])
    said = task.predict(outcome.outputs)
    return tuple(
        show_sample(
            SampleView(batch=outcome.batch, predictions=said, place=place, task=task, dataset=dataset),
            number=int(ids[row]),
            loss=float(losses[row]),
        )
        for place, row in enumerate(order.tolist())
        if math.isfinite(losses[row])
    )


def _conclude(seen: _Seen, worst: tuple[WorstSample, ...], *, of: int, task: Task, dataset: StoredDataset) -> Findings:
    tables = task.tabulate(seen.tallies)
    classes = dataset.manifest.classes
    per_class = {name: [_finite(value) for value in column] for name, column in (tables.per_class or {}).items()}
    charts: tuple[Chart, ...] = ()
    if seen.scores:
        scores, targets = torch.cat(seen.scores).double().numpy(), torch.cat(seen.targets).numpy()
        rates = [compute_rates(scores[:, index], targets == index) for index in range(len(classes))]
        per_class["auc"] = [None if rate is None else rate.area for rate in rates]
        charts = build_rate_charts(rates, classes)
    return Findings(
        samples=sum(len(ids) for ids in seen.ids),
        of=of,
        unit="pixels" if dataset.manifest.task is TaskName.SEGMENTATION else "samples",
        confusion=None if tables.confusion is None else tables.confusion.tolist(),
        per_class=per_class,
        charts=charts,
        worst=worst,
    )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
