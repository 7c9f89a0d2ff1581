"""The errors that end a training or importing process, each with the cause that it is reported as and the way out.

They are raised deep, where the finding is known, and translated once, in `failures`. Standard library only, because the agent
and the rank records use them too.
"""

import errno
from pathlib import Path
from typing import Self

from oarlock_api.contract import Cause

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


class TrainerError(Exception):
    """Something that ends this process, with the cause that the operator decides by and the remedy that the user reads."""

    cause: Cause = Cause.UNKNOWN

    def __init__(self, message: str, *, remedy: str) -> None:
        super().__init__(message)
        self.remedy = remedy


class ConfigError(TrainerError):
    """A variable, or the run in it, that this trainer cannot act on."""

    cause = Cause.CONFIG_INVALID


class UserCodeError(TrainerError):
    """An exception in code that the user brought, with its file and line."""

    cause = Cause.USER_ERROR


class DataMissingError(TrainerError):
    """A data set, or a part of it, that is not where it must be."""

    cause = Cause.DATA_MISSING


class DataCorruptError(TrainerError):
    """A data set whose content is not what was written."""

    cause = Cause.DATA_CORRUPT


class StorageError(TrainerError):
    """A volume that could not be read or written."""

    cause = Cause.STORAGE_FAILED

    def __init__(self, message: str, *, remedy: str, full: bool = False) -> None:
        super().__init__(message, remedy=remedy)
        self.cause = Cause.STORAGE_FULL if full else Cause.STORAGE_FAILED

    @classmethod
    def from_os_error(cls, error: OSError, *, doing: str, path: Path | str | None = None) -> Self:
        """Say what was being done (`"writing the run log"`) and where when the operating system refused."""
        where = path or error.filename or "an unnamed file"
        full = error.errno in _FULL
        remedy = (
            "enlarge the volume or free space on it; training resumes from the last checkpoint"
            if full
            else "check that the volume is mounted, writable and healthy; training resumes from the last checkpoint"
        )
        return cls(f"{doing} failed at {where}: {error.strerror or error}", remedy=remedy, full=full)


class CheckpointMismatchError(TrainerError):
    """A checkpoint of another data set version, model or recipe."""

    cause = Cause.CHECKPOINT_MISMATCH


class SupersededError(TrainerError):
    """A later attempt of the same job owns the volume."""

    cause = Cause.SUPERSEDED


class NonFiniteError(TrainerError):
    """A loss that is not a number, or infinite."""

    cause = Cause.NON_FINITE


class RendezvousError(TrainerError):
    """Processes that did not find one another."""

    cause = Cause.RENDEZVOUS_FAILED


class CollectiveError(TrainerError):
    """Processes that lost one another."""

    cause = Cause.COLLECTIVE_FAILED
