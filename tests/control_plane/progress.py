"""What the harness says while it works: on a terminal a live line, elsewhere a line now and then. Always on standard error,
so that the output of a command stays its own."""

import shutil
import sys
import time
from collections.abc import Callable, Sequence
from typing import TextIO

Say = Callable[[str], None]

_QUIET_SECONDS = 15
_LIVE_SECONDS = 0.2
# Before this share is done, a rate tells nothing.
_LEAST_SHARE = 0.1


def say(message: str) -> None:
    sys.stderr.write(f"control plane: {message}\n")
    sys.stderr.flush()


def format_duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


class Progress:
    """Shows which of several stages a long task is in, since when, and what comes next."""

    def __init__(self, stages: Sequence[str], *, stream: TextIO | None = None) -> None:
        self._stages, self._stream = list(stages), stream or sys.stderr
        self._began = self._stage_began = self._shown = time.monotonic()
        self._live_width = 0
        self.stage = self._stages[0]

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began

    def begin(self, stage: str) -> None:
        """Start a stage, and always say so."""
        self.stage = stage
        self._stage_began = time.monotonic()
        self._show(self._describe(None, ""))

    def update(self, share: float | None, detail: str = "") -> None:
        """Tell how much of the stage is done (0 to 1, None if unknown); shown only now and then."""
        interval = _LIVE_SECONDS if self._stream.isatty() else _QUIET_SECONDS
        if time.monotonic() - self._shown >= interval:
            self._show(self._describe(share, detail))

    def end(self, message: str) -> None:
        self._show(f"control plane: {message}")
        if self._stream.isatty():
            self._stream.write("\n")
            self._stream.flush()

    def _describe(self, share: float | None, detail: str) -> str:
        position = self._stages.index(self.stage)
        following = self._stages[position + 1 :]
        parts = [
            f"control plane: [{position + 1}/{len(self._stages)}] {self.stage}",
            detail,
            f"{format_duration(self.seconds)} so far",
            self._describe_rest(share),
            f"then {following[0]}" if following else "",
        ]
        return ", ".join(part for part in parts if part)

    def _describe_rest(self, share: float | None) -> str:
        if share is None or share < _LEAST_SHARE:
            return ""
        spent = time.monotonic() - self._stage_began
        return f"about {format_duration(spent * (1 - share) / share)} left here"

    def _show(self, line: str) -> None:
        self._shown = time.monotonic()
        if self._stream.isatty():
            line = line[: shutil.get_terminal_size().columns - 1]  # a line that wraps cannot be overwritten
            # Blanks wipe what a longer line left behind.
            self._stream.write("\r" + line.ljust(self._live_width))
            self._live_width = len(line)
        else:
            self._stream.write(f"{line}\n")
        self._stream.flush()
