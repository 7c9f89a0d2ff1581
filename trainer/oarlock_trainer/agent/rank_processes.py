"""The processes that train: found below torchrun, watched until they end, and asked how.

torchrun turns every exit code into 1, so the agent looks at the ranks themselves. They are not its children; a pidfd says at
once when one ends, and its exit status is read while torchrun has not reaped it yet.
"""

import contextlib
import os
import selectors
import signal
import time
from collections.abc import Mapping

from oarlock_trainer.agent import procfs
from oarlock_trainer.agent.process_tree import ProcessEnd, send_signal

_LOCAL_RANK = "LOCAL_RANK"


class RankProcesses:
    """The ranks of one try, by local rank."""

    def __init__(self, *, expected: int, selector: selectors.BaseSelector) -> None:
        self._expected = expected
        self._selector = selector
        self._descriptors: dict[int, int] = {}
        self.pids: dict[int, int] = {}
        """Every rank that was seen, alive or not."""
        self.ends: dict[int, ProcessEnd] = {}

    @property
    def alive(self) -> dict[int, int]:
        return {rank: pid for rank, pid in self.pids.items() if rank not in self.ends}

    @property
    def all_ended(self) -> bool:
        return len(self.ends) == self._expected

    def discover(self, launcher: int) -> None:
        """Look for ranks that torchrun has started since the last look."""
        if len(self.pids) == self._expected:
            return
        for pid in procfs.list_children(launcher):
            environment = procfs.read_environment(pid) or {}
            # Between fork and exec the child still has torchrun's environment, in which there is no local rank.
            if pid not in self.pids.values() and environment.get(_LOCAL_RANK, "").isdigit():
                self.add(int(environment[_LOCAL_RANK]), pid)

    def add(self, local_rank: int, pid: int) -> None:
        """Watch a process that is known."""
        self.pids[local_rank] = pid
        # Old kernels and strict seccomp profiles have no pidfds: then the end is seen at the next look, not at once.
        with contextlib.suppress(OSError):
            descriptor = os.pidfd_open(pid)
            self._descriptors[local_rank] = descriptor
            self._selector.register(descriptor, selectors.EVENT_READ)

    def collect_ends(self) -> None:
        """Note which ranks have ended and how. Must run before anything that reaps."""
        for local_rank, pid in self.alive.items():
            state = procfs.read_state(pid)
            if state is None or state.state in "ZX":
                self.ends[local_rank] = ProcessEnd.from_wait_status(
                    state.wait_status if state else None, at=time.time()
                )
                self._forget(local_rank)

    def note_reaped(self, ended: Mapping[int, ProcessEnd]) -> None:
        """Take in the ends of ranks that became the agent's own children, because torchrun was gone before them."""
        for local_rank, pid in self.alive.items():
            if pid in ended:
                self.ends[local_rank] = ended[pid]
                self._forget(local_rank)

    def signal(self, number: signal.Signals, *, local_ranks: set[int] | None = None) -> None:
        for local_rank, pid in self.alive.items():
            if local_ranks is None or local_rank in local_ranks:
                send_signal(pid, number)

    def close(self) -> None:
        for local_rank in list(self._descriptors):
            self._forget(local_rank)

    def _forget(self, local_rank: int) -> None:
        descriptor = self._descriptors.pop(local_rank, None)
        if descriptor is not None:
            self._selector.unregister(descriptor)
            os.close(descriptor)
