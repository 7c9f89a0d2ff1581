"""Everything that the loop needs, made in order: data, task, model, optimizer, and the state of the last checkpoint."""

import random
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch

from oarlock_api.contract import PodPhase
from oarlock_api.v1alpha1.recipe import EarlyStop, Tunable
from oarlock_trainer.agreement import Agreement
from oarlock_trainer.batches import Batches, Samples, count_parts, open_samples
from oarlock_trainer.cadence import Length, SaveClock, SavePlan
from oarlock_trainer.checkpointing import Saver
from oarlock_trainer.checkpoints import Checkpointer, LoadedCheckpoint
from oarlock_trainer.checkpoints.rng import capture_rng, restore_rng
from oarlock_trainer.config import TrainerConfig
from oarlock_trainer.datasets import Readers, StoredDataset, open_dataset
from oarlock_trainer.devices import free_memory, read_memory
from oarlock_trainer.distributed import Processes
from oarlock_trainer.divergence import DivergenceWatch
from oarlock_trainer.errors import DataMissingError
from oarlock_trainer.first_weights import check_beginning
from oarlock_trainer.journal import Journal
from oarlock_trainer.learner import Learner, build_fitting_model, build_learner
from oarlock_trainer.machine import describe_build, describe_machine
from oarlock_trainer.models.fitting import describe_model
from oarlock_trainer.order import Order
from oarlock_trainer.own_code import digest_code
from oarlock_trainer.randomness import process_seed
from oarlock_trainer.rank_record import RankRecord
from oarlock_trainer.rehearsal import Rehearsal, describe_idle, rehearse
from oarlock_trainer.reporting import Reporter
from oarlock_trainer.run_description import write_description
from oarlock_trainer.signals import StopRequest
from oarlock_trainer.state import VALIDATED_STEP, TrainingState
from oarlock_trainer.steering import Steering
from oarlock_trainer.step_parts import build_laps
from oarlock_trainer.step_statistics import StepStatistics
from oarlock_trainer.tasks import Task, build_task
from oarlock_trainer.throughput import Throughput
from oarlock_trainer.tracing import Tracer
from oarlock_trainer.tuning import Tuner, Tuning, tuned_counter


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """One rank's view of the data set."""

    dataset: StoredDataset
    batches: Batches
    validation: Samples
    rows: int
    """Samples that a process holds at once while training; equal on all ranks."""
    parts: int
    """Micro-batches of a step; likewise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preparation:
    """What one rank trains with."""

    data: Data
    task: Task
    learner: Learner
    state: TrainingState
    best_by: str
    """The metric by which the best checkpoint is kept."""
    early_stop: EarlyStop | None
    """When the run ends early."""
    step: int
    """Steps done before: 0, or those of the checkpoint."""
    steering: Steering


def prepare(
    config: TrainerConfig, processes: Processes, record: RankRecord, stop: StopRequest, *, closing: ExitStack
) -> Preparation:
    """Return everything for the loop, in the state of the last checkpoint if there is one; every rank calls it.

    Whatever must be ended when the run ends or fails is put on `closing`.

    Raises:
        TrainerError: if the data, the checkpoint or the configuration does not allow the run to go on.
    """
    beat = partial(record.beat, PodPhase.LOADING)
    beat()
    checkpointer = _claim_run(config, processes, record)
    dataset = _open_dataset(config)
    task = build_task(config.run, dataset, device=processes.device)
    learner = build_learner(config, processes, form=task.form, outputs=task.outputs)
    data = _open_data(config, processes, dataset, task, on_beat=beat, closing=closing)
    parts, on_pass = _count_rehearsed_parts(config, processes, learner, data), partial(record.beat, PodPhase.COMPILING)
    rehearsal = _rehearse(learner, data, task, processes, parts=parts, on_beat=on_pass)
    learner = rehearsal.learner
    _seed_process(config.run.recipe.seed, processes.rank)
    beat()
    state = _begin_state(config, learner)
    loaded = checkpointer.load_latest(state)
    if loaded is None:
        check_beginning(config.run.model, learner.first_weights, run_dir=config.run_dir)
    learner, data, tuning = _tune(
        config, processes, learner=learner, data=data, task=task, state=state, record=record, stop=stop
    )
    step = state.position // config.batch_size
    steering = _build_steering(
        config,
        processes,
        task=task,
        learner=learner,
        state=state,
        checkpointer=checkpointer,
        record=record,
        stop=stop,
        step=step,
    )
    steering.is_stopping = tuning.is_broken_off
    prepared = Preparation(
        data=data,
        task=task,
        learner=learner,
        state=state,
        best_by=str(config.run.keep_best.metric),
        early_stop=config.run.recipe.early_stop,
        step=step,
        steering=steering,
    )
    _announce(prepared, config, processes, checkpointer=checkpointer, loaded=loaded, idle=rehearsal.idle, tuning=tuning)
    return prepared


def _claim_run(config: TrainerConfig, processes: Processes, record: RankRecord) -> Checkpointer:
    checkpointer = Checkpointer(
        config.run_dir,
        run=config.run,
        job_uid=config.job_uid,
        attempt=config.attempt,
        group=processes.control,
        device=processes.device,
        on_beat=partial(record.beat, PodPhase.CHECKPOINTING),
    )
    checkpointer.claim_fence()
    return checkpointer


def check_model(config: TrainerConfig) -> None:
    """See whether the model takes the data set's samples, on the CPU and without its weights.

    Raises:
        TrainerError: if it does not, or cannot be built.
    """
    task = build_task(config.run, _open_dataset(config), device=torch.device("cpu"))
    build_fitting_model(config.run, task.form, task.outputs)


def _begin_state(config: TrainerConfig, learner: Learner) -> TrainingState:
    """Return the state of a run that begins, with the code of a model of the user's own, which has been imported."""
    python = config.run.model.python
    return TrainingState(
        model=learner.model,
        optimizer=learner.optimizer,
        scaler=learner.scaler,
        average=learner.average,
        code=digest_code(python.module, folder=config.code_dir) if python is not None else {},
    )


def _open_dataset(config: TrainerConfig) -> StoredDataset:
    """Open the data set and make sure that it is the one that the run was resolved for."""
    dataset = open_dataset(config.data_dir)
    found, run = dataset.manifest, config.run
    facts = (
        ("version", run.dataset_version, found.version),
        ("sample shape", list(run.sample_shape), list(found.sample_shape)),
        ("vocabulary size", run.vocabulary_size, found.vocabulary.size if found.vocabulary else None),
        ("number of classes", run.class_count, len(found.classes)),
        ("number of training samples", run.train_samples, found.counts.get("train", 0)),
    )
    for name, expected, actual in facts:
        if expected != actual:
            raise DataMissingError(
                f"the data set in {config.data_dir} must have the {name} {expected!r} of the accepted run, it has {actual!r}",
                remedy="import the Dataset version that the run names again, or start a new job on the present one",
            )
    return dataset


def _open_data(
    config: TrainerConfig,
    processes: Processes,
    dataset: StoredDataset,
    task: Task,
    *,
    on_beat: Callable[[], None],
    closing: ExitStack,
) -> Data:
    run, device = config.run, processes.device
    row_bytes = dataset.manifest.columns.row_bytes
    readers = Readers(run.recipe.loader.workers, name="reader") if run.recipe.loader.workers else None
    if readers is not None:
        closing.callback(readers.close)
    open_split = partial(open_samples, device=device, row_bytes=row_bytes, on_beat=on_beat, readers=readers)
    training = open_split(dataset.split("train"), free=free_memory(device))
    order = Order(seed=run.recipe.seed, samples=len(training), batch_size=config.batch_size)
    share = processes.share(config.batch_size)
    batches = Batches(
        training,
        task=task,
        order=order,
        share=share,
        row_bytes=row_bytes,
        device=device,
        has_readers=readers is not None,
    )
    closing.callback(batches.close)
    validation = open_split(dataset.split("validation"), free=free_memory(device))
    rows = min(-(-config.batch_size // processes.count), run.recipe.micro_batch_size or config.batch_size)
    parts = count_parts(config.batch_size, processes.count, rows=rows)
    return Data(dataset=dataset, batches=batches, validation=validation, rows=rows, parts=parts)


def _tune(
    config: TrainerConfig,
    processes: Processes,
    *,
    learner: Learner,
    data: Data,
    task: Task,
    state: TrainingState,
    record: RankRecord,
    stop: StopRequest,
) -> tuple[Learner, Data, Tuning]:
    """Choose what the recipe leaves to the trainer, or take up what was chosen when the run began."""
    tuner = Tuner(
        learner=learner,
        task=task,
        batches=data.batches,
        processes=processes,
        record=record,
        stop=stop,
        batch_size=config.batch_size,
    )
    tuning = tuner.tune(config.run.recipe, state, rows=data.rows)
    rate = state.counters.get(tuned_counter(Tunable.LEARNING_RATE))
    rows = state.counters.get(tuned_counter(Tunable.MICRO_BATCH_SIZE))
    if rate is not None:
        learner = replace(learner, highest_rate=rate)
    if rows is not None:
        parts = count_parts(config.batch_size, processes.count, rows=int(rows), least=learner.fewest_rows)
        data = replace(data, rows=min(data.rows, int(rows)), parts=parts)
        # Once more with the size that it will have, in an attempt that resumes as in the first.
        generators = capture_rng(processes.device)
        on_beat = partial(record.beat, PodPhase.COMPILING)
        learner = _rehearse(learner, data, task, processes, parts=parts, on_beat=on_beat).learner
        restore_rng(generators, processes.device)
    return learner, data, tuning


def _count_rehearsed_parts(config: TrainerConfig, processes: Processes, learner: Learner, data: Data) -> int:
    """Return the micro-batches of a step for the rehearsal: the least that the search may try, if one is made."""
    if Tunable.MICRO_BATCH_SIZE in (config.run.recipe.tune or ()):
        return count_parts(config.batch_size, processes.count, rows=1, least=learner.fewest_rows)
    return data.parts


def _rehearse(
    learner: Learner, data: Data, task: Task, processes: Processes, *, parts: int, on_beat: Callable[[], None]
) -> Rehearsal:
    on_beat()
    batch, _ = next(data.batches.read(0).split(parts))
    return rehearse(learner, batch, task=task, processes=processes, on_beat=on_beat)


def _seed_process(seed: int, rank: int) -> None:
    """Seed the stateful generators, from which dropout draws, differently on each rank."""
    own = process_seed(seed, rank)
    torch.manual_seed(own)
    np.random.seed(own % 2**32)  # noqa: NPY002  # the global generator is the one that user code draws from
    random.seed(own)


def _build_steering(
    config: TrainerConfig,
    processes: Processes,
    *,
    task: Task,
    learner: Learner,
    state: TrainingState,
    checkpointer: Checkpointer,
    record: RankRecord,
    stop: StopRequest,
    step: int,
) -> Steering:
    run, now = config.run, time.monotonic()
    length = Length(
        steps=run.steps, batch_size=config.batch_size, train_samples=run.train_samples, epochs=run.recipe.epochs
    )
    columns = tuple(f"train/{quantity}" for quantity in task.training_quantities)
    if learner.gradient_clip_norm is not None:
        columns += ("gradientNorm",)
    statistics = StepStatistics(columns=len(columns))
    plan = SavePlan(every=run.checkpoint_every, length=length, last_step=step, saved_step=step or None)
    log = Journal(config.run_dir, steps=run.steps) if processes.leads else None
    if log is not None:
        log.rewind(step, validated=state.counters.get(VALIDATED_STEP) == step)
    reporter = Reporter(
        record,
        log=log,
        columns=columns,
        length=length,
        learning_rate=learner.learning_rate,
        measure_device=partial(read_memory, processes.device),
    )
    return Steering(
        agreement=Agreement(processes.control, statistics=statistics, step=step),
        statistics=statistics,
        throughput=Throughput(batch_size=config.batch_size, now=now),
        laps=build_laps(processes.device),
        saver=Saver(checkpointer, state, plan=plan, clock=SaveClock(run.checkpoint_every, now=now)),
        watch=DivergenceWatch(),
        reporter=reporter,
        record=record,
        stop=stop,
        tracer=_build_tracer(config, processes),
        length=length,
        validate_every=run.recipe.validation.every,
    )


def _build_tracer(config: TrainerConfig, processes: Processes) -> Tracer | None:
    asked = config.run.recipe.trace
    if asked is None or not processes.leads:
        return None
    return Tracer(asked, run_dir=config.run_dir, device=processes.device)


def _announce(
    p: Preparation,
    config: TrainerConfig,
    processes: Processes,
    *,
    checkpointer: Checkpointer,
    loaded: LoadedCheckpoint | None,
    idle: Sequence[str],
    tuning: Tuning,
) -> None:
    """Say what was chosen and found, and where the run goes on."""
    _describe_start(p, config, processes, resumes=loaded is not None)
    reporter, step = p.steering.reporter, p.step
    if p.learner.first_weights is not None:
        reporter.say("firstWeights", step, str(p.learner.first_weights), leftOut=list(p.learner.first_weights.left_out))
    reporter.note_checkpoints(latest=checkpointer.latest, best=checkpointer.best)
    reporter.warn(step, *(loaded.warnings if loaded else checkpointer.warnings))
    if loaded is not None and loaded.extends:
        reporter.say(
            "extension", step, f"the run is longer than when the checkpoint was written: {config.run.steps} steps"
        )
    if len(p.data.validation) == 0:
        reporter.warn(
            step, "the data set has no validation samples: nothing is validated, and the last model is exported"
        )
    if idle:
        reporter.warn(step, describe_idle(idle))
    p.steering.note_missed_trace(step, is_over=False)
    tuning.announce(reporter, step)


def _describe_start(p: Preparation, config: TrainerConfig, processes: Processes, *, resumes: bool) -> None:
    reporter, step = p.steering.reporter, p.step
    reporter.say(
        "start",
        step,
        f"training {describe_model(config.run.model)} on {processes.count} x {processes.device.type}, "
        + (f"from the checkpoint of step {step}" if resumes else "from the beginning"),
        attempt=config.attempt,
        processes=processes.count,
        parallelism=config.run.recipe.parallelism.value,
        threads=config.threads,
        device=str(processes.device),
        precision=str(p.learner.precision).removeprefix("torch."),
        compilation=p.learner.compilation,
        resident=p.data.batches.resident,
        deterministic=config.run.recipe.deterministic,
        torch=torch.__version__,
        **describe_machine(),
    )
    if processes.leads:
        write_description(config.run_dir, config.run, p.data.dataset)
    reporter.introduce(world_size=processes.count, build=describe_build(processes.device))
