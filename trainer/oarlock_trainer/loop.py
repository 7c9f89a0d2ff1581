"""The training loop, to be read from top to bottom: `train` is all there is to a run."""

import math
import time
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from oarlock_api.contract import Outcome, PodPhase
from oarlock_api.metrics import VALIDATION_LOSS, outranks
from oarlock_trainer.best_weights import choose_weights, read_weights
from oarlock_trainer.cadence import is_validation_due
from oarlock_trainer.config import TrainerConfig
from oarlock_trainer.devices import compute_in, open_device
from oarlock_trainer.distributed import Processes, hold_gradients, join_processes
from oarlock_trainer.early_stopping import (
    count_validation,
    describe_early_stop,
    describe_patience,
    has_stopped_improving,
)
from oarlock_trainer.export import export_model
from oarlock_trainer.models import build_model
from oarlock_trainer.optimizers import set_learning_rate
from oarlock_trainer.preparation import Preparation, prepare
from oarlock_trainer.rank_record import RankRecord
from oarlock_trainer.retrospect import look_back
from oarlock_trainer.sharding import gather_model
from oarlock_trainer.signals import StopRequest
from oarlock_trainer.signs_of_life import beating
from oarlock_trainer.state import VALIDATED_STEP, best_counter, best_loss_counter
from oarlock_trainer.step_parts import StepPart
from oarlock_trainer.validation import validate

_VALIDATION_ROWS = 4
"""Without gradients, this many times as many samples fit."""


def train(config: TrainerConfig, record: RankRecord, stop: StopRequest) -> Outcome:
    """Train from the last checkpoint, or from the beginning, to the end of the run or until asked to stop.

    Every process of the run calls it. `step` counts the optimizer steps that are done.

    Raises:
        TrainerError: with the cause and the remedy, if the run cannot go on.
    """
    device = open_device(config)
    record.beat(PodPhase.RENDEZVOUS)
    on_beat = partial(_beat_at_the_end, record, stop)
    with join_processes(config, device, on_beat=on_beat) as processes, ExitStack() as closing:
        p = prepare(config, processes, record, stop, closing=closing)
        learner, steering, laps, step = p.learner, p.steering, p.steering.laps, p.step
        while True:
            validated = _validate_if_due(p, processes, step)
            improves = not has_stopped_improving(config.run.recipe.early_stop, p.state.counters)
            ends = steering.is_stopping or step >= config.run.steps or not improves
            if steering.saver.must_save(step, at_once=ends or validated.is_best, metric=validated.metric):
                steering.save(step, learner.model, processes, metric=validated.metric)
            if steering.is_stopping:
                return _suspend(p, processes, step, metric=validated.metric)
            if ends:
                return _conclude(p, config, processes, step, metric=validated.metric)

            steering.begin_trace(step)
            laps.start(StepPart.DATA_WAIT)
            batch = p.data.batches.at(step)
            figures: list[Tensor] = []
            for part, is_last in batch.split(p.data.parts):
                laps.start(StepPart.PREPARE)
                prepared = p.task.prepare(part)
                laps.start(StepPart.FORWARD)
                with hold_gradients(learner.network, hold=not is_last):
                    with compute_in(learner.precision, device):
                        outputs = learner.network(prepared.inputs)
                    loss = p.task.compute_loss(outputs, prepared.targets)
                    laps.start(StepPart.BACKWARD)
                    # Gradients are averaged over the processes: times their number, that is the mean over the global batch.
                    learner.backward(loss * (processes.count / batch.weight))
                laps.start(StepPart.OTHER)
                with torch.no_grad():
                    # Figures are means over samples; the loss is one over their weights.
                    mean_loss = loss * (config.batch_size / batch.weight)
                    figures.append(p.task.measure_training(mean_loss, outputs, prepared.targets))
            laps.start(StepPart.OPTIMIZER)
            set_learning_rate(learner.optimizer, learner.learning_rate(step))
            norm = learner.update()

            laps.start(StepPart.OTHER)
            step += 1
            p.state.position = step * config.batch_size
            row = _add_up(figures, norm, config.batch_size / processes.count)
            steering.note_step(step, row, config.batch_size)


def _add_up(figures: list[Tensor], norm: Tensor | None, share: float) -> Tensor:
    """Return one row of sums over this rank's samples.

    The norm is the same on all ranks: `share` of it, added over them and divided by the samples, is the norm again.
    """
    row = figures[0] if len(figures) == 1 else torch.stack(figures).sum(dim=0)
    return row if norm is None else torch.cat((row, (norm * share).view(1)))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Validated:
    """What a validation that may have happened found."""

    metric: float | None = None
    """The value of the metric that `keepBest` names."""
    is_best: bool = False


def _validate_if_due(p: Preparation, processes: Processes, step: int) -> _Validated:
    """Validate if the plan says so and it has not been done at this step, before a restart perhaps."""
    steering, counters = p.steering, p.state.counters
    due = is_validation_due(step, every=steering.validate_every, length=steering.length)
    if not due or steering.is_stopping or len(p.data.validation) == 0 or counters.get(VALIDATED_STEP) == step:
        return _Validated()
    steering.end_trace(step)
    steering.settle(step)
    began = time.monotonic()
    steering.throughput.pause(began)
    with p.learner.judged_weights():
        tallies = validate(
            p.learner.model,
            p.data.validation,
            task=p.task,
            processes=processes,
            precision=p.learner.precision,
            rows=_VALIDATION_ROWS * p.data.rows,
            is_stopping=lambda: bool(steering.stop) or steering.is_stopping,
            on_beat=lambda: steering.record.beat(PodPhase.VALIDATING),
        )
    steering.throughput.resume(time.monotonic())
    if tallies is None:
        steering.is_stopping = True
        return _Validated()
    seconds = time.monotonic() - began
    steering.throughput.note_validation(seconds)
    figures = p.task.summarise(tallies, len(p.data.validation))
    metrics = {f"validation/{name}": value for name, value in figures.items()}
    steering.reporter.note_validation(step, metrics, seconds=seconds)
    return _rank_validation(p, step, metrics)


def _rank_validation(p: Preparation, step: int, metrics: dict[str, float]) -> _Validated:
    """Compare with the best so far, which is part of every checkpoint, so that a resumed run compares with the same."""
    counters, name = p.state.counters, p.best_by
    counters[VALIDATED_STEP] = step
    count_validation(p.early_stop, counters, step, metrics)
    p.steering.reporter.show_patience(describe_patience(p.early_stop, counters))
    value, loss = metrics[name], metrics[VALIDATION_LOSS]
    best = counters.get(best_counter(name))
    before = {name: best, VALIDATION_LOSS: counters.get(best_loss_counter(name), math.inf)}
    # A model whose outputs are no numbers is the best of nothing, whatever class is read out of them.
    is_sound = math.isfinite(value) and math.isfinite(loss)
    is_best = is_sound and (best is None or outranks(name, metrics, before))
    if is_best:
        counters.update({best_counter(name): value, best_loss_counter(name): loss})
    # What is as accurate as the best with a greater loss must not take its place among the checkpoints either.
    ranks = is_sound and (is_best or value != best)
    return _Validated(metric=value if ranks else math.nan, is_best=is_best)


def _suspend(p: Preparation, processes: Processes, step: int, *, metric: float | None) -> Outcome:
    """Wait until the last state is safe on the volume."""
    p.steering.record.beat(PodPhase.SUSPENDING)
    p.steering.finish_saving(step, p.learner.model, processes, metric=metric)
    p.steering.end_trace(step)
    p.steering.reporter.say("suspended", step, f"stopped on request; step {step} is safe")
    p.steering.reporter.close()
    return Outcome.SUSPENDED


def _conclude(
    p: Preparation, config: TrainerConfig, processes: Processes, step: int, *, metric: float | None
) -> Outcome:
    """Export the best model, or the last if nothing was validated."""
    p.steering.end_trace(step)
    p.steering.note_missed_trace(step, is_over=True)
    p.steering.settle(step)
    p.steering.watch.end()
    if p.early_stop is not None and step < config.run.steps:
        p.steering.reporter.end_early(step, describe_early_stop(p.early_stop, p.state.counters, step))
    p.steering.finish_saving(step, p.learner.model, processes, metric=metric)
    p.steering.record.beat(PodPhase.EXPORTING)
    if p.learner.average is not None and p.learner.judges_average:
        p.learner.average.put_into_model()
    build = partial(build_model, config.run.model, p.task.form, p.task.outputs)
    model = gather_model(p.learner.model, processes, build=build)
    if model is not None and processes.leads:
        _export(p, config, step, model)
        look_back(p, config, step, device=processes.device)
    p.steering.reporter.close()
    return Outcome.SUCCEEDED


def _export(p: Preparation, config: TrainerConfig, step: int, model: nn.Module) -> None:
    steering, checkpointer = p.steering, p.steering.saver.checkpointer
    choice = choose_weights(
        config.run_dir,
        checkpointer,
        by=p.best_by,
        best_metric=p.state.counters.get(best_counter(p.best_by)),
        step=step,
        epoch=steering.length.epoch(step),
        on_chunk=partial(steering.record.beat, PodPhase.EXPORTING),
    )
    steering.reporter.warn(step, *choice.warnings)
    steering.reporter.note_checkpoints(latest=checkpointer.latest, best=choice.checkpoint)
    with beating(partial(steering.record.beat, PodPhase.EXPORTING)):
        if choice.checkpoint is not None and choice.checkpoint.step != step:
            read_weights(config.run_dir / choice.checkpoint.path, model, averaged=p.learner.judges_average)
        path = export_model(
            config.run_dir, model, run=config.run, dataset=p.data.dataset, task=p.task, origin=choice.origin
        )
    steering.record.report(export=path)
    steering.reporter.say("export", step, f"the {choice.origin} is exported to {config.run_dir / path}", export=path)


def _beat_at_the_end(record: RankRecord, stop: StopRequest) -> None:
    record.beat(PodPhase.SUSPENDING if stop else PodPhase.EXPORTING)
