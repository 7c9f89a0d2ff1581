"""All that a run writes down about its course: the run log, and what is made from it for other programs.

The log must be written: what it cannot take ends the run. TensorBoard's event files and the table of metrics only follow from
it: trouble with them is told once, and the run goes on without. Only rank 0 keeps a journal.
"""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from oarlock_trainer.event_files import EventFiles, can_write_events
from oarlock_trainer.metrics_table import SHARE_FOR_WRITING, TABLE_NAME, write_metrics_table
from oarlock_trainer.run_log import LOG_NAME, RunLog


class Journal:
    """The run log with its followers."""

    def __init__(self, run_dir: Path, *, steps: int) -> None:
        self._run_dir = run_dir
        self._log = RunLog(run_dir)
        self._events: EventFiles | None = EventFiles(run_dir, steps=steps) if can_write_events() else None
        self._table_wanted = True
        self._table_written = time.monotonic()
        self._table_seconds = 0.0
        self._troubles: list[str] = []

    def rewind(self, step: int, *, validated: bool) -> None:
        """Take back what was written after `step`, and open everything; see `RunLog.rewind`.

        Raises:
            StorageError: if the volume refuses the log.
        """
        self._log.rewind(step, validated=validated)
        self._follow(lambda events: events.rewind(step, validated=validated))

    def write(self, *lines: Mapping[str, Any]) -> None:
        """Append lines of the log."""
        self._log.write(*lines)
        self._follow(lambda events: events.take(*lines))

    def flush(self) -> None:
        """Show what was written to other readers."""
        self._log.flush()

    def flush_now_and_then(self, now: float) -> None:
        """Likewise, but every two seconds at most."""
        self._log.flush_now_and_then(now)
        self._follow(lambda events: events.flush_now_and_then(now))

    def sync(self) -> None:
        """Make the log durable; bring the table up to date if that takes little of the time."""
        self._log.sync()
        if self._table_seconds <= SHARE_FOR_WRITING * (time.monotonic() - self._table_written):
            self._write_table()

    def close(self) -> None:
        """Make everything durable and close it."""
        self._follow(lambda events: events.close())
        self._events = None
        self._log.sync()
        self._write_table()
        self._log.close()

    def take_troubles(self) -> list[str]:
        """Return what went wrong since the last time, for the user to know."""
        troubles, self._troubles = self._troubles, []
        return troubles

    def _follow(self, act: Callable[[EventFiles], None]) -> None:
        if self._events is None:
            return
        try:
            act(self._events)
        except OSError as error:
            self._events = None
            self._troubles.append(f"no more TensorBoard event files are written: {error}")

    def _write_table(self) -> None:
        if not self._table_wanted:
            return
        began = time.monotonic()
        try:
            write_metrics_table(self._run_dir / LOG_NAME, self._run_dir / TABLE_NAME)
        except (
            OSError,
            pa.ArrowException,
        ) as error:  # what is too long or too odd for a table is in the log all the same
            self._table_wanted = False
            self._troubles.append(f"{TABLE_NAME} is not written any more: {error}")
        self._table_written = time.monotonic()
        self._table_seconds = self._table_written - began
