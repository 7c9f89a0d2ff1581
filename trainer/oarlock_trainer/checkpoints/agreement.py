"""Rounds in which all ranks learn what each of them found, so that all go on or all fail, with the same error.

Object collectives on a gloo group of the checkpointer's own; the exceptions themselves do not travel, since not every one
survives pickling.
"""

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self, TypeVar

import torch.distributed as dist

from oarlock_api.contract import Cause
from oarlock_trainer.errors import CollectiveError, StorageError, TrainerError

T = TypeVar("T")

# Whether a peer is dead or only slow is for the agent's progress deadline to say, which knows what each rank is doing.
_TIMEOUT = dt.timedelta(days=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Refusal:
    """An error on its way to the other ranks."""

    error: type[TrainerError]
    message: str
    remedy: str
    full: bool

    @classmethod
    def of(cls, error: TrainerError) -> Self:
        full = error.cause is Cause.STORAGE_FULL
        return cls(error=type(error), message=str(error), remedy=error.remedy, full=full)

    def to_error(self) -> TrainerError:
        if issubclass(self.error, StorageError):
            return self.error(self.message, remedy=self.remedy, full=self.full)
        return self.error(self.message, remedy=self.remedy)


class Agreement:
    """All ranks of a group, asked the same question."""

    def __init__(self, group: dist.ProcessGroup) -> None:
        """Make a gloo group of the ranks of `group`; every one of them does so at the same point."""
        ranks = dist.get_process_group_ranks(group)
        made = dist.new_group(ranks, timeout=_TIMEOUT, backend="gloo")
        if not isinstance(made, dist.ProcessGroup):
            raise CollectiveError("this process is not a rank of the group given", remedy="pass a group it belongs to")
        self.group = made
        self.rank = ranks.index(dist.get_rank())
        self.size = len(ranks)
        self._leader = ranks[0]

    def gather(self, act: Callable[[], T]) -> list[T]:
        """Call `act` on every rank and return what each returned, by rank.

        Raises:
            TrainerError: on every rank, the error of the first rank on which `act` raised one.
        """
        mine, unexpected = _attempt(act)
        answers: list[Any] = [None] * self.size
        _collective(lambda: dist.all_gather_object(answers, mine, group=self.group))
        if unexpected is not None:
            raise unexpected
        for answer in answers:
            if isinstance(answer, _Refusal):
                raise answer.to_error()
        return answers

    def lead(self, act: Callable[[], T]) -> T:
        """Call `act` on rank 0 alone and return on every rank what it returned, or raise what it raised."""
        mine, unexpected = _attempt(act) if self.rank == 0 else (None, None)
        answer: list[Any] = [mine]
        _collective(lambda: dist.broadcast_object_list(answer, src=self._leader, group=self.group))
        if unexpected is not None:
            raise unexpected
        if isinstance(answer[0], _Refusal):
            raise answer[0].to_error()
        return answer[0]  # type: ignore[no-any-return]


def _attempt(act: Callable[[], T]) -> tuple[T | _Refusal, BaseException | None]:
    """Return what `act` returns or, for the other ranks, its refusal; and an error that is a defect of ours."""
    try:
        return act(), None
    except TrainerError as error:
        return _Refusal.of(error), None
    except OSError as error:
        return _Refusal.of(StorageError.from_os_error(error, doing="using the checkpoint volume")), None
    except BaseException as error:  # noqa: BLE001  # the other ranks are waiting for an answer, whatever happened
        told = CollectiveError(f"a rank failed: {type(error).__name__}: {error}", remedy="see that rank's failure")
        return _Refusal.of(told), error


def _collective(call: Callable[[], Any]) -> None:
    try:
        call()
    except RuntimeError as error:
        raise CollectiveError(
            f"agreeing about a checkpoint failed: {error}", remedy="see the rank that ended first; training resumes"
        ) from error
