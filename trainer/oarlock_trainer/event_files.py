"""The run's curves as TensorBoard event files, in `tensorboard/` of the job's folder.

They follow from what is logged and belong to the checkpoints as the run log does: what came after the one that a run resumes
from is taken back. They are for looking at, so steps of a long run are joined to means of a few. No trouble with them ever ends
a run: it is told once, and they stay as they are. tensorboardX writes them; without it there are none. Only rank 0 writes.
"""

import importlib.util
import math
import socket
import struct
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

FOLDER_NAME = "tensorboard"
REMEDY = "install oarlock[tensorboard] to have TensorBoard event files"
_CURVE_POINTS = 2000
"""Points of a curve by step, at most."""
_FLUSH_SECONDS = 2.0
_FRAME = struct.Struct("<Q4x")
"""Of a record: its length, and that length's checksum."""
_NOT_FIGURES = frozenset({"step", "epoch", "time"})


def can_write_events() -> bool:
    """Say whether the library that writes event files is installed."""
    return importlib.util.find_spec("tensorboardX") is not None


class EventFiles:
    """Takes up the lines of the run log and writes their figures."""

    def __init__(self, run_dir: Path, *, steps: int) -> None:
        self._folder = run_dir / FOLDER_NAME
        self._stride = max(1, -(-steps // _CURVE_POINTS))
        self._writer: Any = None
        self._sums: dict[str, tuple[float, int]] = {}
        """Sum and number of the values of each figure: one that is not finite has no part in its mean."""
        self._flushed = 0.0

    def rewind(self, step: int, *, validated: bool = True) -> None:
        """Keep the events up to `step`, in one new file which is written from then on.

        Args:
            step: That of the state with which the run goes on.
            validated: False if this step will be validated again.

        Raises:
            OSError: if the volume refuses.
        """
        from tensorboardX.record_writer import RecordWriter

        self._folder.mkdir(parents=True, exist_ok=True)
        before = sorted(self._folder.glob("events.out.tfevents.*"))
        kept = [event for path in before for event in _read_events(path) if _is_kept(event, step, validated=validated)]
        path = self._folder / f"events.out.tfevents.{time.time_ns():020d}.{socket.gethostname()}"
        self._writer = RecordWriter(str(path))
        for event in (*_begin(), *kept):
            self._writer.write(event.SerializeToString())
        self._writer.flush()
        for old in before:
            old.unlink()

    def take(self, *lines: Mapping[str, Any]) -> None:
        """Take up lines of the run log.

        Raises:
            OSError: if the volume refuses.
        """
        for line in lines:
            figures = {name: value for name, value in line.items() if name not in _NOT_FIGURES and _is_figure(value)}
            if line["kind"] == "step":
                self._add_up(line["step"], figures)
            elif line["kind"] in ("validation", "pace"):
                self._write(line["step"], {_tag(line["kind"], name): value for name, value in figures.items()})

    def flush_now_and_then(self, now: float) -> None:
        """Show what was written to TensorBoard, every two seconds at most."""
        if now - self._flushed >= _FLUSH_SECONDS:
            self._flushed = now
            self._writer.flush()

    def close(self) -> None:
        """Write what is left and close the file."""
        self._writer.flush()
        self._writer.close()

    def _add_up(self, step: int, figures: Mapping[str, float]) -> None:
        for name, value in figures.items():
            total, count = self._sums.get(name, (0.0, 0))
            self._sums[name] = total + value, count + 1
        if step % self._stride == 0:
            self._write(step, {name: total / count for name, (total, count) in self._sums.items()})
            self._sums = {}

    def _write(self, step: int, figures: Mapping[str, float]) -> None:
        from tensorboardX.proto.event_pb2 import Event
        from tensorboardX.proto.summary_pb2 import Summary

        values = [Summary.Value(tag=tag, simple_value=value) for tag, value in figures.items()]
        event = Event(wall_time=time.time(), step=step, summary=Summary(value=values))
        self._writer.write(event.SerializeToString())


def _begin() -> Iterator[Any]:
    """Yield how a file begins: for a TensorBoard that read the one before, all begins anew."""
    from tensorboardX.proto.event_pb2 import Event, SessionLog

    now = time.time()
    yield Event(wall_time=now, file_version="brain.Event:2")
    yield Event(wall_time=now, session_log=SessionLog(status=SessionLog.START))


def _read_events(path: Path) -> Iterator[Any]:
    """Yield the events of a file up to the first one that was torn by the end of its writer."""
    from google.protobuf.message import DecodeError
    from tensorboardX.proto.event_pb2 import Event

    content, place = path.read_bytes(), 0
    while place + _FRAME.size <= len(content):
        (length,) = _FRAME.unpack_from(content, place)
        start = place + _FRAME.size
        place = start + length + 4
        if place > len(content):
            return
        try:
            yield Event.FromString(content[start : start + length])
        except DecodeError:
            return


def _is_kept(event: Any, step: int, *, validated: bool) -> bool:
    if not event.HasField("summary") or event.step > step:
        return False
    is_validation = any(value.tag.startswith("validation/") for value in event.summary.value)
    return validated or event.step < step or not is_validation


def _tag(kind: str, name: str) -> str:
    """Return the tag of a figure: TensorBoard groups by what stands before the slash."""
    return name if "/" in name else f"{'pace' if kind == 'pace' else 'validation'}/{name}"


def _is_figure(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
