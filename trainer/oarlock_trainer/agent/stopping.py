"""SIGTERM and SIGINT: one request to stop, that wakes the main loop at once and that nothing repeats or takes back."""

import os
import selectors
import signal
import time
from types import FrameType

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopRequest:
    """Whether, and since when, this pod is asked to stop. Also what the main loop sleeps on."""

    def __init__(self) -> None:
        self.requested_at: float | None = None
        """Monotonic time of the first signal."""
        self.selector: selectors.BaseSelector = selectors.DefaultSelector()
        self._reader, self._writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.selector.register(self._reader, selectors.EVENT_READ)

    @property
    def requested(self) -> bool:
        return self.requested_at is not None

    def install(self) -> None:
        """Take over the signals. Must be called in the main thread."""
        signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        for number in STOP_SIGNALS:
            signal.signal(number, self._on_stop)
        # Handled only so that the end of a child wakes the main loop.
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)

    def wait(self, seconds: float) -> None:
        """Sleep until a signal, the end of a watched process, or for that long."""
        for key, _ in self.selector.select(max(0.0, seconds)):
            if key.fd == self._reader:
                os.read(self._reader, 4096)

    def _on_stop(self, _number: int, _frame: FrameType | None) -> None:
        if self.requested_at is None:
            self.requested_at = time.monotonic()
