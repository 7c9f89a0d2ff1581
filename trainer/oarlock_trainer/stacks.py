"""The stacks of a process that no longer answers: it offers them beforehand, and its agent asks for them with a signal.

Python's fault handler writes them from within the signal's handler, so that they come even while the process waits in a
collective, for a volume or in a native library. Standard library only; both sides know of each other by the file alone.
"""

import faulthandler
import signal
from pathlib import Path
from typing import IO

STACK_SIGNAL = signal.SIGRTMIN + 5
"""Not one of the signals with a name: those belong to the user's code."""

_offered: list[IO[str]] = []
"""Keeps the file open, which the fault handler knows by its descriptor alone."""


def stack_path(record: Path) -> Path:
    """Return where a rank with this record writes its stacks."""
    return record.with_suffix(".stack")


def offer_stacks(path: Path) -> None:
    """Append the stacks of all threads to `path` whenever `STACK_SIGNAL` comes.

    Raises:
        OSError: if the file cannot be written.
    """
    file = path.open("a")
    _offered.append(file)
    faulthandler.register(STACK_SIGNAL, file=file, all_threads=True, chain=False)
