"""Turns whatever ended a process into a `Failure`: cause, place, finding, remedy. The one place where exceptions are judged."""

import errno
import re
import traceback

import torch
import torch.distributed as dist

from oarlock_api.contract import Cause, Failure
from oarlock_trainer.error_texts import explain_text
from oarlock_trainer.errors import StorageError, TrainerError

_DETAIL_CHARACTERS = 2000
_PEER_LOST = re.compile(
    r"gloo|nccl|connection (closed|reset|refused)|broken pipe|timed out waiting|socket timeout|connect\(\)|process group",
    re.IGNORECASE,
)
_ALLOCATION_FAILED = re.compile(r"DefaultCPUAllocator|out of memory|can't allocate memory", re.IGNORECASE)

_REMEDIES = {
    Cause.OUT_OF_MEMORY: "set recipe.microBatchSize lower, or give the workers more memory",
    Cause.COLLECTIVE_FAILED: "see the rank that ended first; training resumes from the last checkpoint",
    Cause.USER_ERROR: "see the traceback; the same error will come again until the code or the data changes",
}


def classify_failure(error: BaseException, *, rank: int) -> Failure:
    """Return what to report about the exception that ended this rank; the agent adds phase and step from the rank's record."""
    cause, message, remedy = _judge(error)
    return Failure(
        cause=cause,
        message=message,
        remedy=remedy,
        rank=rank,
        detail="".join(traceback.format_exception(error))[-_DETAIL_CHARACTERS:],
    )


def _judge(error: BaseException) -> tuple[Cause, str, str]:
    """Return cause, message and remedy."""
    if isinstance(error, TrainerError):
        return error.cause, str(error), error.remedy
    if isinstance(error, OSError) and not isinstance(error, ConnectionError | TimeoutError):
        return _judge(_judge_os_error(error))
    if isinstance(error, RuntimeError | ValueError) and (meaning := explain_text(str(error))):
        return meaning.cause, f"{type(error).__name__}: {meaning.finding}", meaning.remedy
    cause = _find_cause(error)
    return cause, f"{type(error).__name__}: {error}".splitlines()[0], _REMEDIES[cause]


def _judge_os_error(error: OSError) -> TrainerError:
    if error.errno == errno.ENOMEM:
        out_of_memory = TrainerError(str(error), remedy=_REMEDIES[Cause.OUT_OF_MEMORY])
        out_of_memory.cause = Cause.OUT_OF_MEMORY
        return out_of_memory
    return StorageError.from_os_error(error, doing="using a file")


def _find_cause(error: BaseException) -> Cause:
    text = str(error)
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return Cause.OUT_OF_MEMORY
    if isinstance(error, RuntimeError) and _ALLOCATION_FAILED.search(text):
        return Cause.OUT_OF_MEMORY
    if isinstance(error, dist.DistError | ConnectionError | TimeoutError):
        return Cause.COLLECTIVE_FAILED
    if isinstance(error, RuntimeError) and _PEER_LOST.search(text):
        return Cause.COLLECTIVE_FAILED
    return Cause.USER_ERROR
