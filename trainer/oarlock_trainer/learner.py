"""The model with all that trains it: optimizer, schedule, number format, and its spread over the processes."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.amp import GradScaler
from torch.optim import Optimizer

from oarlock_api.run import WorkerRun
from oarlock_api.schedules import RateFactor, build_schedule
from oarlock_api.v1alpha1.recipe import BatchNormalisation, Parallelism, Recipe, Tunable, Weights
from oarlock_trainer.averaging import WeightAverage
from oarlock_trainer.batch_norms import synchronize_batch_norms
from oarlock_trainer.blocks import compile_blocks, recompute_blocks
from oarlock_trainer.checkpoints.catalogue import read_catalogue
from oarlock_trainer.checkpoints.folders import CHECKPOINTS_DIR
from oarlock_trainer.compilation import choose_compilation
from oarlock_trainer.config import TrainerConfig
from oarlock_trainer.devices import choose_precision
from oarlock_trainer.distributed import Processes, spread_model
from oarlock_trainer.first_agreement import check_agreement, seed_all
from oarlock_trainer.first_weights import FirstWeights, load_first_weights, wants_first_weights
from oarlock_trainer.leader_buffers import LeaderBuffers
from oarlock_trainer.models import SampleForm, build_model
from oarlock_trainer.models.dropping import set_dropout
from oarlock_trainer.models.fitting import check_fit, find_fewest_samples
from oarlock_trainer.optimizers import add_l1_penalty, build_optimizer, highest_learning_rate
from oarlock_trainer.parameter_groups import freeze_parameters, freeze_statistics
from oarlock_trainer.sharding import make_whole, shard_model

_IMAGE_WEIGHT = 4
"""Dimensions of a convolution's weights: [outputs, inputs, height, width]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Learner:
    """One rank's model and optimizer."""

    model: nn.Module
    network: nn.Module
    """The model, spread over the processes: its backward pass averages gradients."""
    optimizer: Optimizer
    scaler: GradScaler
    """Scales losses up so that fp16 can hold their small gradients; with any other precision it leaves all as it is."""
    precision: torch.dtype
    highest_rate: float
    rate_factor: RateFactor
    gradient_clip_norm: float | None
    compilation: str
    """Whether the model is compiled, and why."""
    first_weights: FirstWeights | None
    """Which weights the run began with just now; None: random ones, or it resumes."""
    average: WeightAverage | None
    """The average of the weights, if the recipe wants one."""
    judges_average: bool
    """Whether the average is what is validated and exported."""
    leader_buffers: LeaderBuffers
    """What is equal on all ranks after a step although no gradient changes it."""
    fewest_rows: int = 1
    """Samples that a process must have at once, as far as a search among numbers of rows asks for it."""

    def learning_rate(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0."""
        return self.highest_rate * self.rate_factor(step)

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of `loss`, a mean over the global batch, to those of the micro-batches before."""
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]

    def update(self) -> Tensor | None:
        """Do one optimizer step and drop the gradients; return their norm before clipping, None if the recipe asks for none.

        With fp16, a step whose gradients are not finite changes nothing but the scale, and its norm is 0: that is how the
        scaler finds the highest scale, and no sign of divergence. A fused optimizer hears of it on the device.
        """
        self.scaler.unscale_(self.optimizer)
        add_l1_penalty(self.optimizer)
        norm = self._clip_gradients()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.leader_buffers.spread()
        if self.average is not None:
            self.average.update()
        self.optimizer.zero_grad(set_to_none=True)
        return norm.nan_to_num(0.0, 0.0) if norm is not None and self.scaler.is_enabled() else norm

    def judged_weights(self) -> AbstractContextManager[None]:
        """Return the context in which the model has the weights that are validated."""
        if self.average is None or not self.judges_average:
            return nullcontext()
        return self.average.swapped_in()

    def _clip_gradients(self) -> Tensor | None:
        if self.gradient_clip_norm is None:
            return None
        return make_whole(nn.utils.clip_grad_norm_(self.model.parameters(), self.gradient_clip_norm))


def build_learner(config: TrainerConfig, processes: Processes, *, form: SampleForm, outputs: int) -> Learner:
    """Return the model for inputs of `form` with `outputs` outputs in its first state, the same on all ranks, and its optimizer.

    Raises:
        ConfigError: if the recipe asks for what the device or this version lacks, or the samples do not fit the model.
        DataMissingError: if the weights that the job begins with are not there.
        StorageError: if neither they nor a checkpoint are, though there was one.
        UserCodeError: if code of the user's own raises.
    """
    run, recipe, device = config.run, config.run.recipe, processes.device
    seed_all(recipe.seed)
    model, first_weights = _build_first_model(config, processes, form, outputs)
    if recipe.parallelism is Parallelism.FSDP:
        check_agreement(model, processes)
    groups = recipe.param_groups or ()
    freeze_parameters(model, groups)
    searches_rows = Tunable.MICRO_BATCH_SIZE in (recipe.tune or ())
    fewest_rows = find_fewest_samples(model, form) if searches_rows else 1
    compiles, why = choose_compilation(
        recipe.compile, device=device, steps=run.steps, deterministic=recipe.deterministic
    )
    precision = choose_precision(recipe.precision, device)
    model, network = _spread(model, recipe, processes, precision=precision, compiles=compiles)
    freeze_statistics(model)
    return Learner(
        model=model,
        network=network,
        optimizer=build_optimizer(recipe.optimizer, model, device_type=device.type, groups=groups),
        scaler=GradScaler(device.type, enabled=precision is torch.float16),
        precision=precision,
        highest_rate=highest_learning_rate(recipe.optimizer),
        rate_factor=build_schedule(recipe.schedule, steps=run.steps),
        gradient_clip_norm=recipe.gradient_clip_norm,
        first_weights=first_weights,
        compilation=f"{'on' if compiles else 'off'}: {why}",
        average=WeightAverage(model, decay=recipe.ema.decay) if recipe.ema else None,
        judges_average=recipe.validation.weights is Weights.EMA,
        leader_buffers=LeaderBuffers(model, processes=processes.count),
        fewest_rows=fewest_rows,
    )


def build_fitting_model(run: WorkerRun, form: SampleForm, outputs: int) -> nn.Module:
    """Return the model on the CPU, its weights drawn from torch's global generator.

    Raises:
        ConfigError: if there is no such model, the samples do not fit it, or it has no dropout that the recipe could set.
        UserCodeError: if code of the user's own raises.
    """
    model = build_model(run.model, form, outputs)
    if run.model.name is None:
        check_fit(model, run.model, form, outputs=outputs, task=run.task)
    if run.recipe.dropout is not None:
        set_dropout(model, run.recipe.dropout)
    return model


def _build_first_model(
    config: TrainerConfig, processes: Processes, form: SampleForm, outputs: int
) -> tuple[nn.Module, FirstWeights | None]:
    """Return the model on the CPU, with the weights that the job begins with unless there is a checkpoint to resume from."""
    wanted = config.run.model
    model = build_fitting_model(config.run, form, outputs)
    if not wants_first_weights(wanted) or _has_checkpoint(config, processes):
        return model, None
    return model, load_first_weights(model, wanted, config.first_weights, outputs=outputs)


def _has_checkpoint(config: TrainerConfig, processes: Processes) -> bool:
    """Say whether there is a checkpoint as rank 0 sees it: what other nodes see of a network volume may be older."""
    checkpoints = config.run_dir / CHECKPOINTS_DIR
    found = [processes.leads and read_catalogue(checkpoints, corrupt=(), metric_name="").find_latest() is not None]
    dist.broadcast_object_list(found, src=0, group=processes.control)
    return found[0]


def _spread(
    model: nn.Module, recipe: Recipe, processes: Processes, *, precision: torch.dtype, compiles: bool
) -> tuple[nn.Module, nn.Module]:
    """Return the model on its device, and what the backward pass goes through.

    The order counts: what is computed again is the compiled block, and what is gathered for it stays gathered meanwhile.
    """
    if recipe.batch_norm is BatchNormalisation.SYNCHRONIZED:
        model = synchronize_batch_norms(model, processes)
    shards = recipe.parallelism is Parallelism.FSDP and processes.count > 1
    if compiles and (shards or recipe.activation_checkpointing):
        compile_blocks(model)
    elif compiles:
        model.compile()
    if recipe.activation_checkpointing:
        recompute_blocks(model)
    if shards:
        shard_model(model, processes, precision=precision)
        return model, model
    model = model.to(processes.device)
    _store_channels_last(model)
    return model, spread_model(model, processes)


def _store_channels_last(model: nn.Module) -> None:
    """Store the weights as images are stored, and what convolutions make of them: it is faster on GPU and CPU alike.

    torch's `Module.to` tries that on the weights of convolutions in three dimensions too, which have no such form.
    """
    for value in (*model.parameters(), *model.buffers()):
        if value.ndim == _IMAGE_WEIGHT:
            value.data = value.data.to(memory_format=torch.channels_last)
