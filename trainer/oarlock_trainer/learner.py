"""The model with all that trains it: optimizer, schedule, number format, and its spread over the processes."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.amp import GradScaler
from torch.optim import Optimizer

from oarlock_api.schedules import RateFactor, build_schedule
from oarlock_trainer.compilation import choose_compilation
from oarlock_trainer.config import TrainerConfig
from oarlock_trainer.devices import choose_precision
from oarlock_trainer.distributed import Processes, spread_model
from oarlock_trainer.models import SampleForm, build_model
from oarlock_trainer.optimizers import add_l1_penalty, build_optimizer, highest_learning_rate
from oarlock_trainer.parameter_groups import freeze_parameters


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
        self.optimizer.zero_grad(set_to_none=True)
        return norm.nan_to_num(0.0, 0.0) if norm is not None and self.scaler.is_enabled() else norm

    def _clip_gradients(self) -> Tensor | None:
        if self.gradient_clip_norm is None:
            return None
        return nn.utils.clip_grad_norm_(self.model.parameters(), self.gradient_clip_norm)


def build_learner(config: TrainerConfig, processes: Processes, *, form: SampleForm, outputs: int) -> Learner:
    """Return the model for inputs of `form` with `outputs` outputs in its first state, the same on all ranks, and its optimizer.

    Raises:
        ConfigError: if the recipe asks for what the device or this version lacks, or the samples do not fit the model.
    """
    run, recipe, device = config.run, config.run.recipe, processes.device
    torch.manual_seed(recipe.seed)
    model = build_model(run.model, form, outputs).to(device)
    # Images are stored channels-last; so is what convolutions make of them, which is faster on GPU and CPU alike.
    model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack this form
    groups = recipe.param_groups or ()
    freeze_parameters(model, groups)
    compiles, why = choose_compilation(
        recipe.compile, device=device, steps=run.steps, deterministic=recipe.deterministic
    )
    if compiles:
        model.compile()
    precision = choose_precision(recipe.precision, device)
    return Learner(
        model=model,
        network=spread_model(model, processes),
        optimizer=build_optimizer(recipe.optimizer, model, device_type=device.type, groups=groups),
        scaler=GradScaler(device.type, enabled=precision is torch.float16),
        precision=precision,
        highest_rate=highest_learning_rate(recipe.optimizer),
        rate_factor=build_schedule(recipe.schedule, steps=run.steps),
        gradient_clip_norm=recipe.gradient_clip_norm,
        compilation=f"{'on' if compiles else 'off'}: {why}",
    )
