"""Batch normalisation over the whole global batch instead of each process's own rows.

torch's own form computes on GPUs alone. The one here is for the CPU: the same mathematics out of plain operations, so that a
run may be tried out, and resumed, where there is no GPU.
"""

from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from oarlock_trainer.distributed import Processes


def synchronize_batch_norms(model: nn.Module, processes: Processes) -> nn.Module:
    """Return the model with batch norms that share their statistics among all processes; names stay what they are."""
    if processes.count == 1:
        return model
    if processes.device.type == "cuda":
        return cast("nn.Module", nn.SyncBatchNorm.convert_sync_batchnorm(model))  # type: ignore[no-untyped-call]
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            # Only what the class does changes, not what the object holds: parameters, buffers and settings stay in place.
            module.__class__ = _SynchronizedBatchNorm
    return model


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
