"""The run log: one JSON object a line for every step, validation and event, in `log.jsonl` of the job's folder.

Losses are written with all their digits, so that two runs can be compared bit by bit. The log belongs to the checkpoints: what
was written after the one that a run resumes from is taken back, so that the log reads as if nothing had happened. Only rank 0
writes it.
"""

import json
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

from oarlock_trainer.errors import StorageError

LOG_NAME = "log.jsonl"
_FLUSH_SECONDS = 2.0


def split_finite(values: Mapping[str, float]) -> tuple[dict[str, float], list[str]]:
    """Return the finite values, and the names of the others, which JSON cannot express."""
    finite = {name: value for name, value in values.items() if math.isfinite(value)}
    return finite, [name for name in values if name not in finite]


def build_line(kind: str, step: int, metrics: Mapping[str, float] | None = None, **facts: Any) -> dict[str, Any]:
    """Return a line of the log: `kind`, `step`, metrics by their names, `nonFinite` if there are such, other facts."""
    finite, non_finite = split_finite(metrics or {})
    envelope = {"kind": kind, "step": step, **facts, **({"nonFinite": non_finite} if non_finite else {})}
    return {
        **envelope,
        **finite,
        **envelope,
    }  # in its place and its value: whatever a figure is called, the line stays one


class RunLog:
    """Appends to the log, buffered; `sync` makes it durable."""

    def __init__(self, run_dir: Path) -> None:
        self._path = run_dir / LOG_NAME
        self._file: IO[str] | None = None
        self._flushed = 0.0

    def rewind(self, step: int, *, validated: bool = True) -> list[dict[str, Any]]:
        """Take back what was written after `step`, open the log, and return its validations so far.

        Args:
            step: That of the state with which the run goes on.
            validated: False if this step will be validated again, since the state does not know of its validation.

        Raises:
            StorageError: if the volume refuses.
        """
        try:
            validations = self._keep_until(step, validated=validated)
            self._file = self._path.open("a", encoding="utf-8")
        except OSError as error:
            raise StorageError.from_os_error(error, doing="opening the run log", path=self._path) from error
        return validations

    def _keep_until(self, step: int, *, validated: bool) -> list[dict[str, Any]]:
        """Write the log anew without what came after `step`, line by line, since it may be long."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.touch()
        validations = []
        rewritten = self._path.with_suffix(".rewinding")
        with (
            self._path.open(encoding="utf-8", errors="replace") as before,
            rewritten.open("w", encoding="utf-8") as file,
        ):
            for text in before:
                line = _parse(text)
                if line is not None and _is_kept(line, step, validated=validated):
                    file.write(text)
                    validations += [line] if line["kind"] == "validation" else []
            _sync(file)
        rewritten.replace(self._path)
        return validations

    def write(self, *lines: Mapping[str, Any]) -> None:
        """Append lines; they reach the volume with the next flush."""
        assert self._file is not None, "rewind opens the log"  # noqa: S101  # a defect of ours
        text = "".join(json.dumps(line, separators=(",", ":"), allow_nan=False) + "\n" for line in lines)
        self._guard(lambda file: file.write(text))

    def flush(self) -> None:
        """Show what was written to other readers."""
        self._guard(lambda file: file.flush())

    def flush_now_and_then(self, now: float) -> None:
        """Flush, but every two seconds at most: a volume on a network takes its time."""
        if now - self._flushed >= _FLUSH_SECONDS:
            self._flushed = now
            self.flush()

    def sync(self) -> None:
        """Make what was written durable."""
        self._guard(_sync)

    def close(self) -> None:
        """Make everything durable and close the log."""
        if self._file is not None:
            self.sync()
            self._file.close()
            self._file = None

    def _guard(self, act: Callable[[IO[str]], object]) -> None:
        if self._file is None:
            return
        try:
            act(self._file)
        except OSError as error:
            raise StorageError.from_os_error(error, doing="writing the run log", path=self._path) from error


def _sync(file: IO[str]) -> None:
    file.flush()
    os.fsync(file.fileno())


def _is_kept(line: Mapping[str, Any], step: int, *, validated: bool) -> bool:
    return bool(line["step"] < step or (line["step"] == step and (validated or line["kind"] != "validation")))


def _parse(text: str) -> dict[str, Any] | None:
    """Return the line, or None if it was torn by the end of the process that wrote it."""
    if not text.endswith("\n"):
        return None
    try:
        line = json.loads(text)
    except ValueError:
        return None
    return line if isinstance(line, dict) and isinstance(line.get("step"), int) and "kind" in line else None
