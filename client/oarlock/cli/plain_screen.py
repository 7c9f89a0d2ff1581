"""The display without a terminal: plain lines, one when something happens and one every few seconds of progress."""

import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from rich.console import Console

from oarlock.cli.views import View, view

Object = dict[str, Any]

PROGRESS_SECONDS = 5.0


class PlainScreen:
    """Prints lines that a log file can hold."""

    def __init__(self, console: Console, *, quiet: int = 0, clock: Callable[[], float] = time.monotonic) -> None:
        """Make the screen; `quiet` 1 leaves out progress, 2 everything."""
        self._console, self._quiet, self._clock = console, quiet, clock
        self._said: tuple[str, ...] = ()
        self._progress = ""
        self._next = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave what was printed."""

    def note(self, text: str) -> None:
        self._print(text, level=2)

    def show(self, item: Object) -> None:
        shown = view(item)
        event = (shown.title, shown.phase, shown.explanation)
        if event != self._said:
            self._said = event
            self._next = self._clock() + PROGRESS_SECONDS
            self._progress = _describe_progress(shown)
            self._print(_describe(shown), level=1)
        elif self._clock() >= self._next and (progress := _describe_progress(shown)) != self._progress:
            self._progress = progress
            self._next = self._clock() + PROGRESS_SECONDS
            self._print(_describe(shown), level=1)

    def settle(self) -> None:
        self._said = ()

    def _print(self, text: str, *, level: int) -> None:
        if self._quiet < level:
            self._console.print(text, markup=False, highlight=False, soft_wrap=True)


def _describe(shown: View) -> str:
    words = f"{shown.title}: {shown.phase}"
    if shown.explanation:
        words += f": {shown.explanation}"
    progress = _describe_progress(shown)
    return f"{words}, {progress}" if progress else words


def _describe_progress(shown: View) -> str:
    done = [f"{100 * shown.fraction:.0f} %"] if shown.fraction is not None and shown.amounts else []
    return ", ".join([*done, *shown.amounts, *shown.figures, *shown.validation])
