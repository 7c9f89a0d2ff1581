"""Asks the processes of a program to stop, where the ranks may be shells that pass nothing on, and knows which still run.

A process that has a handler for SIGTERM is asked alone: what is below it, the workers of a data loader for example, is its own
to end. Where one has none, it dies of the signal at once, and what it has started is asked as well.
"""

import os
import signal
from collections.abc import Collection

from oarlock_trainer.agent import procfs
from oarlock_trainer.agent.process_tree import send_signal


class ProgramStop:
    """The processes of a program since the request to stop."""

    def __init__(self) -> None:
        self._asked: set[int] = set()
        self._passes_nothing_on: set[int] = set()
        self.alive: set[int] | None = None
        """Those that ran at the last look; None before the first."""

    def look(self, ranks: Collection[int], *, launcher: int) -> None:
        """Ask what is to be asked and was not yet.

        Args:
            ranks: processes of the ranks.
            launcher: process of torchrun, which is told nothing: it would stop the ranks in its own way.
        """
        alive = set()
        for pid in procfs.list_descendants(os.getpid()):
            state = procfs.read_state(pid)
            if pid == launcher or state is None or state.state in "ZX":
                continue
            if state.parent == launcher and pid not in ranks:
                continue
            alive.add(pid)
            # What lost its parent is this process's child now: whoever started it can ask it no more.
            is_due = pid in ranks or state.parent == os.getpid() or state.parent in self._passes_nothing_on
            if is_due and pid not in self._asked:
                self._ask(pid)
        self.alive = alive

    def _ask(self, pid: int) -> None:
        self._asked.add(pid)
        if not procfs.takes_signal(pid, signal.SIGTERM):
            self._passes_nothing_on.add(pid)
        send_signal(pid, signal.SIGTERM)
