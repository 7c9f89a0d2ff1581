"""Signs of life beside work that can give none itself: a library that writes ONNX for minutes, a program's own export.

A thread beats while the work goes on, so that the agent does not take it for hung, and only for so long: it cannot see whether
the work still moves, and work that truly hangs must be found. It must not stand in for beats that show progress.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

EXPORT_SECONDS = 1800.0
"""For how long an export may go on in silence before the progress deadline begins to count."""
_EVERY_SECONDS = 0.5


@contextmanager
def beating(
    on_beat: Callable[[], None], *, at_most: float = EXPORT_SECONDS, every: float = _EVERY_SECONDS
) -> Iterator[None]:
    """Beat every `every` seconds until the context ends, but for no more than `at_most` seconds."""
    ended = threading.Event()
    # A daemon: it never keeps a process alive that must end.
    thread = threading.Thread(target=_beat, args=(ended, on_beat, at_most, every), name="signs-of-life", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _beat(ended: threading.Event, on_beat: Callable[[], None], at_most: float, every: float) -> None:
    until = time.monotonic() + at_most
    while not ended.wait(every) and time.monotonic() < until:
        on_beat()
