"""How the end of a process is judged."""

import errno

import pytest
import torch
import torch.distributed as dist

from oarlock_api.contract import Cause
from oarlock_trainer import errors
from oarlock_trainer.divergence import PATIENCE_STEPS, DivergenceWatch
from oarlock_trainer.failures import classify_failure


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (errors.ConfigError("bad", remedy="mend"), Cause.CONFIG_INVALID),
        (errors.DataCorruptError("bad", remedy="mend"), Cause.DATA_CORRUPT),
        (errors.NonFiniteError("bad", remedy="mend"), Cause.NON_FINITE),
        (OSError(errno.ENOSPC, "No space left on device", "/runs/x"), Cause.STORAGE_FULL),
        (OSError(errno.EDQUOT, "Disk quota exceeded", "/runs/x"), Cause.STORAGE_FULL),
        (OSError(errno.EIO, "Input/output error", "/runs/x"), Cause.STORAGE_FAILED),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), Cause.OUT_OF_MEMORY),
        (MemoryError(), Cause.OUT_OF_MEMORY),
        (torch.OutOfMemoryError("CUDA out of memory"), Cause.OUT_OF_MEMORY),
        (
            RuntimeError("[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: can't allocate memory"),
            Cause.OUT_OF_MEMORY,
        ),
        (RuntimeError("[../gloo/transport/tcp/pair.cc:534] Connection closed by peer"), Cause.COLLECTIVE_FAILED),
        (dist.DistBackendError("NCCL error: remote process exited"), Cause.COLLECTIVE_FAILED),
        (ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"), Cause.COLLECTIVE_FAILED),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), Cause.USER_ERROR),
        (KeyError("weights"), Cause.USER_ERROR),
    ],
    ids=lambda value: value.value if isinstance(value, Cause) else type(value).__name__,
)
def test_an_error_gets_its_cause_and_a_remedy(error: Exception, cause: Cause) -> None:
    failure = classify_failure(error, rank=3)

    assert failure.cause == cause
    assert failure.rank == 3
    assert failure.message
    assert failure.remedy


def test_a_real_failed_allocation_is_out_of_memory() -> None:
    with pytest.raises(RuntimeError) as raised:
        torch.empty(1 << 50, dtype=torch.uint8)

    assert classify_failure(raised.value, rank=0).cause == Cause.OUT_OF_MEMORY


def test_a_real_batch_norm_that_gets_a_single_sample_says_what_to_set() -> None:
    with pytest.raises(ValueError, match="more than 1 value") as error:
        torch.nn.BatchNorm1d(2)(torch.ones(1, 2))
    failure = classify_failure(error.value, rank=0)

    assert failure.cause is Cause.CONFIG_INVALID
    assert "raise recipe.microBatchSize" in failure.remedy


def test_the_end_of_the_traceback_is_kept() -> None:
    def deep(levels: int) -> None:
        if levels == 0:
            raise ValueError("the bottom")
        deep(levels - 1)

    with pytest.raises(ValueError, match="bottom") as raised:
        deep(100)

    detail = classify_failure(raised.value, rank=0).detail
    assert detail.endswith("ValueError: the bottom\n")
    assert len(detail) <= 2000


def test_a_run_ends_when_the_loss_stays_not_finite_and_names_the_first_step() -> None:
    watch = DivergenceWatch()
    watch.see(1, [1.0, float("nan"), 2.0, float("inf")])
    assert not watch.is_finite

    with pytest.raises(errors.NonFiniteError, match="not finite since step 4"):
        watch.see(5, [float("nan")] * (PATIENCE_STEPS - 1))


def test_a_run_goes_on_when_the_loss_recovers() -> None:
    watch = DivergenceWatch()
    for first_step in range(1, 100, PATIENCE_STEPS):
        watch.see(first_step, [float("nan")] * (PATIENCE_STEPS - 1) + [1.0])

    watch.end()
    assert watch.is_finite


def test_a_run_that_ends_without_a_finite_loss_has_failed() -> None:
    watch = DivergenceWatch()
    watch.see(8, [1.0, float("nan")])

    with pytest.raises(errors.NonFiniteError, match="from step 9 to the end"):
        watch.end()
