"""What the ranks tell one another while they train: figures, requests to stop, and decisions that depend on the time.

Every K steps, K being about a second's worth, the ranks gather one short vector each. It is sent in the background at one such
step and read at the next, so nobody waits for it, and everybody acts on it at the same step, which is the point: ranks that
stopped or saved at different steps would wait for one another for ever. Only rank 0's clock decides what depends on time.
Sums are taken in the order of the ranks, so that they are bitwise the same whatever K is.
"""

from dataclasses import dataclass
from functools import reduce

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor

from oarlock_trainer.distributed import gather_by_rank
from oarlock_trainer.step_parts import MEASURED, Parts
from oarlock_trainer.step_statistics import Snapshot, StepStatistics

LONGEST_INTERVAL = 1024
"""Steps between two exchanges, at most."""
_HEAD = 6 + len(MEASURED)


@dataclass(frozen=True, kw_only=True, slots=True)
class Proposal:
    """What one rank has to say. The last three count from rank 0 only."""

    stop: bool
    step_seconds: float
    """Mean duration of its recent steps."""
    wait_seconds: float
    """The part of it that was spent waiting for data."""
    parts: Parts = ()
    """The parts of the rest that were measured."""
    save: bool = False
    """Whether it is time for a checkpoint."""
    may_save: bool = True
    """Whether a checkpoint that falls due by steps or epochs is worth its cost now."""
    interval: int = 1
    """Steps until the exchange after next."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StepFigures:
    """The figures of some consecutive steps over all ranks."""

    first_step: int
    means: NDArray[np.float64]
    """[steps, columns]: sums over the global batch, divided by its weight."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What all ranks know now, and act on at this step."""

    stop: bool
    save: bool
    may_save: bool
    interval: int
    step_seconds: float
    """Of the slowest rank."""
    wait_seconds: float
    """Of the rank that waits longest for its data: the others wait for it, in their gradients' exchange."""
    parts: Parts
    """Of that rank, so that no wait for data counts twice."""
    figures: tuple[StepFigures, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Sent:
    work: dist.Work
    gathered: list[Tensor]
    snapshot: Snapshot


class Agreement:
    """One rank's end. All ranks call the same methods at the same steps."""

    def __init__(self, group: dist.ProcessGroup, *, statistics: StepStatistics, step: int) -> None:
        self._group, self._statistics = group, statistics
        self._processes = dist.get_world_size(group)
        self._due = step + 1
        self._taken: Snapshot | None = None
        self._sent: _Sent | None = None

    def is_due(self, step: int) -> bool:
        """Say whether an exchange belongs to `step`."""
        return step >= self._due

    def exchange(self, step: int, proposal: Proposal) -> Verdict | None:
        """Read what was sent at the last exchange, send what was measured before it, take up what was measured since.

        Raises:
            RuntimeError: if another rank is gone.
        """
        verdict = self._receive()
        self._send(proposal)
        self._taken = self._statistics.take()
        self._due = step + (verdict.interval if verdict else 1)
        return verdict

    def settle(self, step: int, proposal: Proposal) -> Verdict | None:
        """Exchange everything up to `step` and wait for it, before something that must not miss any of it.

        Raises:
            RuntimeError: if another rank is gone.
        """
        verdicts = []
        while self._sent or self._taken or len(self._statistics):
            verdicts.append(self.exchange(step, proposal))
        return reduce(_merge, (verdict for verdict in verdicts if verdict), None)

    def _send(self, proposal: Proposal) -> None:
        if self._taken is None:
            return
        head = (proposal.stop, proposal.save, proposal.may_save, proposal.interval)
        times = (proposal.step_seconds, proposal.wait_seconds, *(proposal.parts or [0.0] * len(MEASURED)))
        figures = np.array([*head, *times], dtype=np.float64)
        vector = torch.from_numpy(np.concatenate([figures, self._taken.read().ravel()]))
        work, gathered = gather_by_rank(vector, self._processes, self._group)
        self._sent = _Sent(work=work, gathered=gathered, snapshot=self._taken)

    def _receive(self) -> Verdict | None:
        if self._sent is None:
            return None
        sent, self._sent = self._sent, None
        sent.work.wait()
        return _judge(torch.stack(sent.gathered).numpy(), sent.snapshot, columns=self._statistics.columns)


def _judge(by_rank: NDArray[np.float64], snapshot: Snapshot, *, columns: int) -> Verdict:
    """Turn the ranks' vectors [ranks, any] into what holds for all; the same on every rank."""
    stop, save, may_save, interval, step_seconds, wait_seconds, *_ = by_rank[:, :_HEAD].T
    longest = int(wait_seconds.argmax())
    parts = by_rank[longest, _HEAD - len(MEASURED) : _HEAD]
    total = np.zeros((len(snapshot.weights), columns))
    for row in by_rank[:, _HEAD:]:
        total += row.reshape(-1, columns)
    return Verdict(
        stop=bool(stop.any()),
        save=bool(save[0]),
        may_save=bool(may_save[0]),
        interval=int(interval[0]),
        step_seconds=float(step_seconds.max()),
        wait_seconds=float(wait_seconds[longest]),
        parts=tuple(parts.tolist()) if parts.any() else (),
        figures=(StepFigures(first_step=snapshot.first_step, means=total / snapshot.weights[:, None]),),
    )


def _merge(earlier: Verdict | None, later: Verdict) -> Verdict:
    if earlier is None:
        return later
    return Verdict(
        stop=earlier.stop or later.stop,
        save=earlier.save or later.save,
        may_save=later.may_save,
        interval=later.interval,
        step_seconds=later.step_seconds,
        wait_seconds=later.wait_seconds,
        parts=later.parts,
        figures=(*earlier.figures, *later.figures),
    )


def choose_interval(step_seconds: float, *, target_seconds: float = 1.0) -> int:
    """Return how many steps of this duration make about `target_seconds`."""
    if step_seconds <= 0:
        return 1
    return min(LONGEST_INTERVAL, max(1, round(target_seconds / step_seconds)))
