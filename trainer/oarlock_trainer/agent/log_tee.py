"""What torchrun and the ranks print: passed on to the agent's own output and to a log file on the volume.

The ranks never wait for it: a reader that blocks or a volume that hangs costs lines, which are counted, never training. The
last lines are kept for the black box.
"""

import os
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

_MAX_LINE_BYTES = 16 * 1024
"""A longer line is passed on in pieces."""
_MAX_QUEUED = 2000
"""Lines that wait for one slow receiver before further ones are dropped."""
_PATIENCE_SECONDS = 0.1
"""How long the ranks' output may wait for a receiver, once, before lines are dropped for it."""
_WRITE_BYTES = 64 * 1024
_KEPT_LINES = 200
MAX_LOG_BYTES = 64 * 1024 * 1024
"""Size at which a log file ends: a rank that prints without end must not fill the volume that checkpoints need."""


class LogSink:
    """One receiver, written to by a thread of its own."""

    def __init__(self, name: str, open_sink: Callable[[], int], *, limit: int | None = None) -> None:
        self.trouble = ""
        self._name, self._open, self._limit = name, open_sink, limit
        self._lines: queue.Queue[bytes | None] = queue.Queue(_MAX_QUEUED)
        self._dropped = 0
        self._ended = False
        self._thread = threading.Thread(target=self._run, name=f"log-{name}", daemon=True)
        self._thread.start()

    def put(self, line: bytes) -> None:
        """Hand over a line; of one that falls behind, lose lines until it has caught up by half."""
        if self._dropped and self._lines.qsize() > _MAX_QUEUED // 2:
            self._dropped += 1
            return
        try:
            if self._dropped:
                self._lines.put_nowait(f"[{self._dropped} lines lost: {self._name} was too slow]\n".encode())
                self._dropped = 0
            self._lines.put(line, timeout=_PATIENCE_SECONDS)
        except queue.Full:
            self._dropped += 1

    def close(self, *, timeout: float) -> None:
        try:
            self._lines.put(None, timeout=timeout)
        except queue.Full:
            return
        self._thread.join(timeout)

    def _run(self) -> None:
        try:
            self._write_all(self._open())
        except OSError as error:
            self.trouble = f"The log is no longer written to {self._name}: {error.strerror or error}."
            while not self._ended and self._lines.get() is not None:
                pass

    def _write_all(self, descriptor: int) -> None:
        written = 0
        while content := self._take():
            if self._limit is not None and written + len(content) > self._limit:
                _write(
                    descriptor, content[: self._limit - written] + b"\n[the log ends here: it has its largest size]\n"
                )
                raise OSError(f"it has reached its largest size, {self._limit} bytes")
            written += len(content)
            _write(descriptor, content)

    def _take(self) -> bytes:
        """Wait for a line and take what else is there, up to a write's worth; nothing at the end."""
        if self._ended or (line := self._lines.get()) is None:
            return b""
        content = bytearray(line)
        while len(content) < _WRITE_BYTES:
            try:
                line = self._lines.get_nowait()
            except queue.Empty:
                break
            if line is None:
                self._ended = True
                break
            content += line
        return bytes(content)


def _write(descriptor: int, content: bytes) -> None:
    while content:
        try:
            content = content[os.write(descriptor, content) :]
        except BlockingIOError:  # whoever reads has made the pipe non-blocking
            time.sleep(0.05)


class LogTee:
    """Reads a child's output line by line and hands each line to every receiver."""

    def __init__(self, *, log_file: Path | None, stdout: int = 1, max_log_bytes: int = MAX_LOG_BYTES) -> None:
        self._last: deque[str] = deque(maxlen=_KEPT_LINES)
        self._sinks = [LogSink("standard output", lambda: stdout)]
        if log_file is not None:
            self._sinks.append(LogSink(str(log_file), lambda: open_log(log_file), limit=max_log_bytes))
        self._readers: list[threading.Thread] = []
        self.last_output_at: float | None = None
        """Seconds since 1970 at which a child last printed something."""

    @property
    def warnings(self) -> list[str]:
        return [sink.trouble for sink in self._sinks if sink.trouble]

    @property
    def last_lines(self) -> list[str]:
        return list(self._last)

    def open_pipe(self) -> int:
        """Return a descriptor for a child to write to; the caller closes its own copy once the child has it.

        The last lines start anew, so that a failure is not explained by what an earlier try printed.
        """
        self._last.clear()
        reader, writer = os.pipe2(os.O_CLOEXEC)
        thread = threading.Thread(target=self._read, args=(reader,), name="log-reader", daemon=True)
        thread.start()
        self._readers.append(thread)
        return writer

    def say(self, text: str) -> None:
        """Print a line of the agent's own."""
        self._pass_on(f"[oarlock agent] {text}\n".encode(errors="replace"), keep=False)

    def drain(self, *, timeout: float) -> None:
        """Wait until all that the children printed is read. Call it when they are dead."""
        for thread in self._readers:
            thread.join(timeout)
        self._readers.clear()

    def close(self, *, timeout: float) -> None:
        self.drain(timeout=timeout)
        for sink in self._sinks:
            sink.close(timeout=timeout)

    def _read(self, reader: int) -> None:
        with os.fdopen(reader, "rb") as stream:
            while line := stream.readline(_MAX_LINE_BYTES):
                self._pass_on(line)

    def _pass_on(self, line: bytes, *, keep: bool = True) -> None:
        if keep:
            self.last_output_at = time.time()
            self._last.append(line.decode(errors="replace").rstrip()[-2000:])
        for sink in self._sinks:
            sink.put(line)


def open_log(path: Path) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
