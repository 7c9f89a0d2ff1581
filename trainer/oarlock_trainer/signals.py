"""Stopping on request: SIGTERM and SIGINT only set a flag, which the ranks' next agreement spreads.

No work is done in a handler: a rank that stopped on its own would leave the others waiting in a collective for ever.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class StopRequest:
    """Whether this process has been asked to stop."""

    def __init__(self) -> None:
        self.received = ""

    def __bool__(self) -> bool:
        return bool(self.received)

    def _receive(self, number: int, _frame: FrameType | None) -> None:
        self.received = signal.Signals(number).name


@contextmanager
def watch_for_stop() -> Iterator[StopRequest]:
    """Let SIGTERM and SIGINT set the request that is yielded, for as long as the context lasts."""
    request = StopRequest()
    before = {number: signal.signal(number, request._receive) for number in (signal.SIGTERM, signal.SIGINT)}  # noqa: SLF001  # its own
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
