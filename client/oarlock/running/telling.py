"""Tells on the screen, once each, what happens to a job beside progress: where it really goes on, and every warning."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from oarlock.running.run_events import RunEvents
from oarlock.running.screen import Screen

_SPEAKING_PHASES = frozenset({"Training", "Importing"})


class Teller:
    """What was told of one object in this run of the command."""

    def __init__(self, screen: Screen, name: str, *, since: float) -> None:
        self._screen, self._name = screen, name
        self._events = RunEvents(since=since)
        self.warnings: list[str] = []

    def tell(self, item: Mapping[str, Any], folder: Path | None) -> None:
        """Tell what is new.

        Args:
            item: the object as it is now.
            folder: where its pods keep the run's log; None if there is none.
        """
        for event in self._events.read(folder / "log.jsonl") if folder else ():
            if event.kind == "warning":
                self._warn(event.message)
            elif event.step:
                self._screen.note(f"{self._name} goes on from the checkpoint of step {event.step:,}")
        if said := _find_said(item.get("status", {})):
            self._warn(said)

    def _warn(self, text: str) -> None:
        if not any(text in known for known in self.warnings):
            self.warnings.append(text)
            self._screen.note(f"{self._name}: {text}")


def _find_said(status: Mapping[str, Any]) -> str:
    """Return what the operator adds to a status when the pods say something: it follows where they run."""
    if status.get("phase") not in _SPEAKING_PHASES:
        return ""
    return str(status.get("message", "")).partition("; ")[2]
