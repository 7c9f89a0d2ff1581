"""The live display: on a terminal, the object that is at work, with bars and figures; what is done stays as one line each."""

import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from oarlock.cli.views import View, view
from oarlock.cli.wording import format_duration

Object = dict[str, Any]

_REFRESHES_PER_SECOND = 8
_BAR_WIDTH = 40
_MARGIN = (0, 0, 0, 2)


class LiveScreen:
    """Shows one object at a time at the foot of the terminal."""

    def __init__(self, console: Console, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._console, self._clock = console, clock
        self._live = Live(console=console, refresh_per_second=_REFRESHES_PER_SECOND, transient=True)
        self._spinner = Spinner("dots", style="cyan")
        self._view: View | None = None
        self._began = 0.0

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.update(Text(), refresh=True)
        self._live.stop()

    def note(self, text: str) -> None:
        self._console.print(text, style="yellow", markup=False, highlight=False)

    def show(self, item: Object) -> None:
        new = view(item)
        if self._view is None or self._view.title != new.title:
            self._began = self._clock()
        self._view = new
        self._live.update(build_view(new, seconds=self._clock() - self._began, spinner=self._spinner))

    def settle(self) -> None:
        shown, self._view = self._view, None
        self._live.update(Text(), refresh=True)
        if shown is not None:
            self._console.print(build_line(shown, seconds=self._clock() - self._began))


def build_view(shown: View, *, seconds: float | None = None, spinner: RenderableType = "") -> RenderableType:
    """Return what is shown of an object while it is at work."""
    parts: list[RenderableType] = [_build_head(shown, seconds, spinner)]
    if shown.fraction is not None:
        parts.append(Padding(_build_bar(shown, shown.fraction), _MARGIN))
    parts += [Padding(Text(text, style=style), _MARGIN) for text, style in _list_details(shown)]
    return Group(*parts)


def _build_head(shown: View, seconds: float | None, spinner: RenderableType) -> RenderableType:
    kind, _, name = shown.title.partition(" ")
    words = Text.assemble(f"{kind} ", (name, "bold"), "  ", (shown.phase, "cyan"))
    if shown.activity:
        words.append(f" ({shown.activity})", style="dim")
    if seconds is not None:
        words.append(f"  {format_duration(seconds)}", style="dim")
    head = Table.grid(padding=(0, 1))
    head.add_row(spinner, words)
    return head


def _build_bar(shown: View, fraction: float) -> RenderableType:
    bar = ProgressBar(total=1.0, completed=fraction, width=_BAR_WIDTH, complete_style="cyan", finished_style="green")
    row = Table.grid(padding=(0, 2))
    row.add_row(bar, Text(f"{100 * fraction:3.0f} %"), Text(" · ".join(shown.amounts)))
    return row


def _list_details(shown: View) -> list[tuple[str, str]]:
    details = [
        (" · ".join(shown.figures), "none"),
        (" · ".join(shown.validation), "none"),
        (shown.safe, "green"),
        (shown.explanation, "yellow"),
    ]
    return [(text, style) for text, style in details if text]


def build_line(shown: View, *, seconds: float) -> Text:
    """Return the one line that stays of an object."""
    kind, _, name = shown.title.partition(" ")
    signs = {"Ready": ("✓", "green"), "Succeeded": ("✓", "green"), "Suspended": ("‖", "yellow")}
    sign, style = signs.get(shown.phase, ("✗", "red") if shown.phase in ("Failed", "Invalid") else ("●", "yellow"))
    words = shown.figures if shown.phase == "Ready" else ()
    line = Text.assemble((f"{sign} ", style), f"{kind} ", (name, "bold"), "  ", (shown.phase, style))
    line.append(f"  {' · '.join(words)}" if words else "")
    line.append(f"  {format_duration(seconds)}" if seconds >= 1 else "", style="dim")
    return line
