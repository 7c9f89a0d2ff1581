"""The timeline of some steps of rank 0, as torch's profiler sees them, for a trace viewer: `traces/step-000000020.json.gz`.

While it traces, the parts of a step are named in it. It looks and changes nothing: a run that is traced computes what one that is
not does. Trouble with it must not end a run: whoever asks for it hears of a `TraceError` and goes on.
"""

import contextlib
import gzip
import io
import os
import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile, record_function

from oarlock_api.v1alpha1.timeline import Trace
from oarlock_trainer.checkpoints.durability import sync_folder
from oarlock_trainer.checkpoints.folders import step_name
from oarlock_trainer.reports import TRACE_VIEWER, TRACES_DIR
from oarlock_trainer.step_parts import StepPart


class TraceError(Exception):
    """There is no timeline; the text says why."""


class Tracer:
    """Traces the steps that the recipe names, once; and, as a listener, names their parts."""

    def __init__(self, asked: Trace, *, run_dir: Path, device: torch.device) -> None:
        self._first, self._last = asked.first_step, asked.first_step + asked.steps - 1
        self._path = run_dir / TRACES_DIR / f"{step_name(asked.first_step)}.json.gz"
        self._activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device.type == "cuda" else [])]
        self._profiler: profile | None = None
        self._step = 0
        self._step_range, self._part_range = ExitStack(), ExitStack()

    def __call__(self, part: StepPart | None) -> None:
        """Name what follows."""
        self._part_range.close()
        if part is StepPart.DATA_WAIT or part is None:
            self._step_range.close()
        if part is StepPart.DATA_WAIT:
            self._step += 1
            self._step_range.enter_context(record_function(f"step {self._step}"))
        if part is not None:
            self._part_range.enter_context(record_function(part.value))

    def begins_after(self, step: int) -> bool:
        """Say whether the step after `step` is the first one to trace."""
        return step + 1 == self._first

    def ends_after(self, step: int) -> bool:
        """Say whether `step` is the last one to trace."""
        return self._profiler is not None and step >= self._last

    def describe_miss(self, step: int, *, is_over: bool) -> str:
        """Return why a run that goes on, or ends, after `step` steps does not come to the first one; nothing if it did or will."""
        misses = step < self._first if is_over else step >= self._first
        if not misses or _is_there(self._path):
            return ""
        course = "ended" if is_over else "goes on"
        return f"there is no timeline: recipe.trace.firstStep is {self._first}, and the run {course} after step {step}"

    def begin(self, step: int) -> None:
        """Trace from here on, `step` steps being done.

        Raises:
            TraceError: if torch's profiler does not start.
        """
        self._step = step
        profiler = profile(activities=self._activities)
        try:
            profiler.start()
        except (RuntimeError, OSError) as error:
            raise TraceError(f"there is no timeline: torch's profiler does not start: {error}") from error
        self._profiler = profiler

    @property
    def is_tracing(self) -> bool:
        return self._profiler is not None

    def end(self, step: int) -> str:
        """Trace no more, write the timeline up to `step`, complete or not at all, and return where it is.

        Raises:
            TraceError: if nothing is traced, the profiler cannot tell it, or the volume refuses it.
        """
        profiler, self._profiler = self._profiler, None
        if profiler is None:
            raise TraceError("there is no timeline: nothing is traced")
        self(None)
        steps = f"step {step}" if step == self._first else f"steps {self._first} to {step}"
        try:
            profiler.stop()
            _write(_compress_trace(profiler), self._path)
        except (RuntimeError, OSError) as error:
            raise TraceError(f"there is no timeline of {steps}: {error}") from error
        return f"the timeline of {steps} is in {TRACES_DIR}/{self._path.name}; open it in {TRACE_VIEWER}"


def _is_there(path: Path) -> bool:
    """Say whether there is a file; a volume in trouble is no reason to raise, which `Path.exists` would do."""
    try:
        path.stat()
    except OSError:
        return False
    return True


def _compress_trace(profiler: profile) -> bytes:
    """Return the trace as gzipped JSON.

    Raises:
        OSError: if the folder for temporary files has no room for it: the profiler itself says nothing then.
    """
    with tempfile.TemporaryDirectory(prefix="oarlock-trace-") as folder:
        plain = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(plain))
        compressed = io.BytesIO()
        with plain.open("rb") as source, gzip.GzipFile(fileobj=compressed, mode="wb", compresslevel=6, mtime=0) as file:
            shutil.copyfileobj(source, file)
            source.seek(-2, os.SEEK_END)
            if not source.read().rstrip().endswith(b"}"):
                raise OSError(f"{tempfile.gettempdir()} has no room for it")
    return compressed.getvalue()


def _write(content: bytes, path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    draft = path.with_name(path.name + ".partial")
    try:
        with draft.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise
    sync_folder(path.parent)
