"""The device of a process and how it computes: threads, number formats, determinism. Set once, before anything is allocated."""

import os
from contextlib import AbstractContextManager, nullcontext

import torch

from oarlock_api.v1alpha1.recipe import Precision
from oarlock_trainer.config import TrainerConfig
from oarlock_trainer.errors import ConfigError

_FREE_ON_CPU = 256 << 20


def open_device(config: TrainerConfig) -> torch.device:
    """Return this process's device, set up as the recipe asks.

    Raises:
        ConfigError: if the run wants a GPU that this process does not have.
    """
    torch.set_num_threads(config.threads)
    torch.set_float32_matmul_precision("high")
    if config.run.recipe.deterministic:
        _compute_deterministically()
    if not config.run.gpu:
        return torch.device("cpu")
    found = torch.cuda.device_count()
    if config.local_rank >= found:
        raise ConfigError(
            f"workers.gpusPerNode wants a GPU for each process; local process {config.local_rank} finds {found} GPUs",
            remedy="check the node's driver and device plug-in, or set gpusPerNode to 0 to train on CPU",
        )
    device = torch.device("cuda", config.local_rank)
    torch.cuda.set_device(device)
    torch.backends.cudnn.benchmark = not config.run.recipe.deterministic
    return device


def _compute_deterministically() -> None:
    # cuBLAS reads its workspace setting when the first handle is made.
    os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
    torch.use_deterministic_algorithms(mode=True)
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False


def choose_precision(precision: Precision, device: torch.device) -> torch.dtype:
    """Return the number format of the forward and backward pass; auto is bf16 on GPUs that have it, else fp32.

    Raises:
        ConfigError: if the device lacks the format.
    """
    has_bf16 = device.type == "cpu" or torch.cuda.is_bf16_supported(including_emulation=False)
    if precision is Precision.BF16 and not has_bf16:
        raise ConfigError(
            f"recipe.precision is 'bf16', which {torch.cuda.get_device_name(device)} lacks", remedy="use auto or fp32"
        )
    if precision is Precision.AUTO:
        return torch.bfloat16 if device.type == "cuda" and has_bf16 else torch.float32
    return {Precision.BF16: torch.bfloat16, Precision.FP16: torch.float16}.get(precision, torch.float32)


def compute_in(precision: torch.dtype, device: torch.device) -> AbstractContextManager[object]:
    """Return the context in which a forward pass computes in `precision`."""
    return nullcontext() if precision is torch.float32 else torch.autocast(device.type, dtype=precision)


def free_memory(device: torch.device) -> int:
    """Return the bytes that may be thought of as free for data: of a GPU what is free; on CPU little, as there are page caches."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else _FREE_ON_CPU


def read_memory(device: torch.device) -> dict[str, float]:
    """Return what this process holds of a GPU's memory, as its allocator counts it: nothing waits for the device."""
    if device.type != "cuda":
        return {}
    return {
        "gpuMemoryBytes": float(torch.cuda.memory_allocated(device)),
        "gpuMemoryPeakBytes": float(torch.cuda.max_memory_allocated(device)),
        "gpuMemoryReservedBytes": float(torch.cuda.memory_reserved(device)),
    }
