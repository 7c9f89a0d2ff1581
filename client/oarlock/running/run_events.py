"""What the trainer of a job says while it runs, beside figures: where it really began, and what the user should know.

It reads the run's log, which holds all of it; the status of a job has room for one warning. Nothing in it decides anything.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_READ_BACK = 1024 * 1024
"""Bytes before the end of a log that are looked at when its end is not where it was: a resumed run cuts it back."""
_KINDS = frozenset({"start", "warning"})


@dataclass(frozen=True, kw_only=True, slots=True)
class RunEvent:
    """One event of a run."""

    kind: str
    """`start` or `warning`."""
    step: int
    message: str


class RunEvents:
    """The events of one run from now on, each once."""

    def __init__(self, *, since: float) -> None:
        """Begin to read; events of before `since`, in seconds since 1970, are left out."""
        self._since, self._offset = since, -1
        self._file = -1
        self._seen: set[tuple[str, float]] = set()

    def read(self, log: Path) -> list[RunEvent]:
        """Return what was added to the log since the last call; nothing while there is no log."""
        try:
            with log.open("rb") as stream:
                size, file = stream.seek(0, 2), os.fstat(stream.fileno()).st_ino
                # The first time, and when a resumed run cut its log, it begins earlier: what is seen again is left out. A log
                # that was cut is another file, and may have grown beyond its old end already.
                is_same = file == self._file and 0 <= self._offset <= size
                begin = self._offset if is_same else max(0, size - _READ_BACK)
                stream.seek(begin)
                text = stream.read()
        except OSError:
            return []
        whole = text[: text.rfind(b"\n") + 1]
        self._offset, self._file = begin + len(whole), file
        return list(self._select(whole))

    def _select(self, text: bytes) -> Iterator[RunEvent]:
        for line in text.splitlines():
            if b'"message"' not in line:
                continue  # a step
            try:
                event = json.loads(line)
                kind, moment = str(event["kind"]), float(event["time"])
                found = RunEvent(kind=kind, step=int(event["step"]), message=str(event["message"]))
            except (ValueError, KeyError, TypeError):
                continue  # torn by the end of the process that wrote it
            if kind in _KINDS and moment >= self._since and (found.message, moment) not in self._seen:
                self._seen.add((found.message, moment))
                yield found
