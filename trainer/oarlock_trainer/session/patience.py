"""A wait for other ranks that may never end, because the program asks one rank only: after a while the log says what is waited for."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

PATIENCE_SECONDS = 60.0


@contextmanager
def telling(text: str, *, after: float = PATIENCE_SECONDS) -> Iterator[None]:
    """Write `text` to the log if what is done takes longer than `after` seconds."""
    timer = threading.Timer(after, _tell, args=(text,))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _tell(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
