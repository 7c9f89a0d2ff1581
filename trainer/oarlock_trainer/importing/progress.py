"""Tells how an import is doing: on the terminal for people, in the rank record for the agent, which watches that it goes on."""

import sys
import time
from collections.abc import Callable
from typing import TextIO

from oarlock_api.contract import PodPhase
from oarlock_trainer.rank_record import RankRecord

_SECONDS_BETWEEN_LINES = {True: 0.2, False: 10.0}
"""On a terminal one line is rewritten; elsewhere every line stays."""
_SECONDS_BETWEEN_REPORTS = 1.0


class ImportStoppedError(Exception):
    """The import was asked to end; what is finished stays for the next one."""


class ImportProgress:
    """The one place that an import reports to; every call is also where it can be stopped."""

    def __init__(
        self,
        record: RankRecord,
        *,
        stop: Callable[[], bool] = lambda: False,
        out: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._record, self._stop, self._out, self._clock = record, stop, out or sys.stderr, clock
        self._warnings: list[str] = []
        self._activity, self._total, self._what, self._started = "", 0, "images", clock()
        self._last_line = self._last_report = float("-inf")
        self._line_open = False

    def beat(self, *, done: int | None = None) -> None:
        """Give a sign of life; `done` counts finished samples.

        Raises:
            ImportStoppedError: if the import was asked to stop.
        """
        self._record.beat(PodPhase.IMPORTING, step=done, position=done)
        if self._stop():
            raise ImportStoppedError

    def start(self, activity: str, total: int, *, what: str = "images") -> None:
        """Begin an activity over `total` samples."""
        self._activity, self._total, self._what, self._started = activity, total, what, self._clock()
        self._last_line = self._clock()
        self._record.report(steps=total)
        self.beat(done=0)

    def advance(self, done: int) -> None:
        """Say how many samples of the activity are finished."""
        now = self._clock()
        rate = done / max(now - self._started, 1e-9)
        left = (self._total - done) / rate if rate else None
        if now - self._last_report >= _SECONDS_BETWEEN_REPORTS:
            self._last_report = now
            self._record.report(eta_seconds=left)
        if now - self._last_line >= _SECONDS_BETWEEN_LINES[self._out.isatty()]:
            self._last_line = now
            self._show(render_progress(self._activity, done, self._total, what=self._what, rate=rate, left=left))
        self.beat(done=done)

    def note(self, text: str) -> None:
        """Print a line that stays."""
        self._end_line()
        self._out.write(f"{text}\n")
        self._out.flush()

    def warn(self, text: str) -> None:
        """Print a line that also reaches the status."""
        self._warnings.append(text)
        self._record.report(warnings=self._warnings)
        self.note(f"warning: {text}")

    def _show(self, line: str) -> None:
        if self._out.isatty():
            self._out.write(f"\r\x1b[K{line}")
            self._line_open = True
        else:
            self._out.write(f"{line}\n")
        self._out.flush()

    def _end_line(self) -> None:
        if self._line_open:
            self._out.write("\r\x1b[K")
            self._line_open = False


def render_progress(
    activity: str, done: int, total: int, *, rate: float, left: float | None, what: str = "images"
) -> str:
    """Return one line: how much is done, how fast it goes, how long it will take. Pure."""
    percent = 100 * done // total if total else 100
    ending = "" if left is None else f", {render_duration(left)} left"
    return f"{activity}: {done:,} of {total:,} {what} ({percent} %), {rate:,.0f} {what}/s{ending}"


def render_duration(seconds: float) -> str:
    """Return a duration as people say it: 42 s, 3 min 5 s, 2 h 10 min. Pure."""
    whole = round(seconds)
    if whole < 60:  # noqa: PLR2004  # seconds of a minute
        return f"{whole} s"
    if whole < 3600:  # noqa: PLR2004  # seconds of an hour
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
