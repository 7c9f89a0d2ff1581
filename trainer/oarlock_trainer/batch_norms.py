"""Batch normalisation over the whole global batch instead of each process's own rows.

torch's own form computes on GPUs alone. The one here is for the CPU: the same mathematics out of plain operations, so that a
run may be tried out, and resumed, where there is no GPU. A batch norm that does more than torch's is never replaced by one that
does less: timm's, which end with an activation, keep it, and others are refused.
"""

import sys
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from oarlock_trainer.distributed import Processes
from oarlock_trainer.errors import ConfigError


def synchronize_batch_norms(model: nn.Module, processes: Processes) -> nn.Module:
    """Return the model with batch norms that share their statistics among all processes; names stay what they are.

    Raises:
        ConfigError: if a batch norm computes what is known neither of torch nor of timm.
    """
    if processes.count == 1:
        return model
    norms = {name: module for name, module in model.named_modules() if isinstance(module, _BatchNorm)}
    kinds = {name: _choose_kind(name, module) for name, module in norms.items()}
    if processes.device.type == "cuda":
        with_activations = _SynchronizedNormWithActivation in kinds.values()
        convert = _timm_norms().convert_sync_batchnorm if with_activations else nn.SyncBatchNorm.convert_sync_batchnorm
        return cast("nn.Module", convert(model))
    for name, module in norms.items():
        # Only what the class does changes, not what the object holds: parameters, buffers and settings stay in place.
        module.__class__ = kinds[name]
    return model


def list_running_statistics(model: nn.Module) -> list[Tensor]:
    """Return the buffers in which norms, of whichever library, gather mean and variance of what they have seen."""
    return [
        buffer
        for module in model.modules()
        for name, buffer in module.named_buffers(recurse=False)
        if name in {"running_mean", "running_var"}
    ]


def _choose_kind(name: str, norm: _BatchNorm) -> type[_BatchNorm]:
    """Return what does the same as `norm` over all processes: its forward pass says what it does, not its ancestors."""
    forward = type(norm).forward
    if forward in {_BatchNorm.forward, nn.SyncBatchNorm.forward}:
        return _SynchronizedBatchNorm
    timm = _timm_norms()
    if timm is not None and forward in {timm.BatchNormAct2d.forward, timm.SyncBatchNormAct.forward}:
        return _SynchronizedNormWithActivation
    raise ConfigError(
        f"recipe.batchNorm: synchronized: the batch norm {name} of the model is a {type(norm).__qualname__}, whose forward pass is"
        " its own and would be lost",
        remedy="use torch.nn.BatchNorm1d, 2d or 3d with what else it does beside it, or set recipe.batchNorm to local",
    )


def _timm_norms() -> Any:
    """Return timm's module of norms, or None: a model that has one of them has imported it."""
    return sys.modules.get("timm.layers.norm_act")


class _SynchronizedBatchNorm(_BatchNorm):
    """Batch normalisation whose training statistics are those of all processes, weighted by their rows."""

    def _check_input_dim(self, _: Tensor) -> None:
        """Take any number of dimensions."""

    def forward(self, values: Tensor) -> Tensor:
        if not self.training:
            return super().forward(values)
        given, values = values.dtype, values.float()
        over = [axis for axis in range(values.ndim) if axis != 1]
        count = values.new_tensor(float(values[:, 0].numel()))
        mean, variance, total = _share_moments(values, over, count)
        if self.track_running_stats and self.running_mean is not None:
            self._keep_statistics(mean.detach(), variance.detach(), total)
        shape = [-1 if axis == 1 else 1 for axis in range(values.ndim)]
        scale = torch.rsqrt(variance + self.eps)
        shift = -mean * scale
        if self.affine:
            scale, shift = scale * self.weight, shift * self.weight + self.bias
        return (values * scale.view(shape) + shift.view(shape)).to(given)

    @torch.no_grad()
    def _keep_statistics(self, mean: Tensor, variance: Tensor, total: Tensor) -> None:
        """Take a step towards the statistics of this batch, with the unbiased variance, as torch does."""
        count = cast("Tensor", self.num_batches_tracked)
        count += 1
        weight: Any = 1.0 / count.float() if self.momentum is None else self.momentum
        cast("Tensor", self.running_mean).lerp_(mean, weight)
        cast("Tensor", self.running_var).lerp_(variance * (total / (total - 1).clamp(min=1)), weight)


class _SynchronizedNormWithActivation(_SynchronizedBatchNorm):
    """Likewise for timm's batch norms, which drop and activate what they have normalised."""

    def forward(self, values: Tensor) -> Tensor:
        drop, act = cast("nn.Module", self.drop), cast("nn.Module", self.act)
        return cast("Tensor", act(drop(super().forward(values))))


def _share_moments(values: Tensor, over: list[int], count: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return mean and variance of each channel over all processes, and how many values each is made of.

    In two passes, the mean first: the mean of the squares less the square of the mean would lose the digits that count.
    """
    sums = _sum_over_ranks(torch.cat((values.sum(over), count.view(1))))
    total = sums[-1].detach().clamp(min=1)
    mean = sums[:-1] / total
    shape = [-1 if axis == 1 else 1 for axis in range(values.ndim)]
    spread = (values - mean.view(shape)).square().sum(over)
    return mean, _sum_over_ranks(spread) / total, total


def _sum_over_ranks(values: Tensor) -> Tensor:
    return cast("Tensor", _SumOverRanks.apply(values))  # type: ignore[no-untyped-call]


class _SumOverRanks(torch.autograd.Function):
    """The sum over all processes: each uses it for a part of the loss, so the gradients of all are added as well."""

    @staticmethod
    def forward(_context: Any, values: Tensor) -> Tensor:
        return _add_over_ranks(values)

    @staticmethod
    def backward(_context: Any, gradient: Tensor) -> Tensor:
        return _add_over_ranks(gradient)


def _add_over_ranks(values: Tensor) -> Tensor:
    total = values.contiguous().clone()
    dist.all_reduce(total)
    return total
